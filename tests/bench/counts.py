"""How much is measured: enough for a steady median, or just enough to run every path."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Counts:
    """Samples of each kind.

    Attributes:
        operations: Calls of one operation in memory.
        handshakes: Sessions started and accepted.
        chain: Messages of one chain that are skipped and then come late, plus the one first.
        late_rounds: Such chains.
        sessions: Sessions open in one process.
        commits: Commits one after another.
        groups: Groups of 16 commits.
        one_way: Messages of one round one way.
        in_flight: Sends that wait for their commit at a time.
        pings: Round trips.
        waiting: Messages that wait for an absent device.
        rounds: Rounds of everything that travels.
        newcomers: Devices that write their first message.
    """

    operations: int
    handshakes: int
    chain: int
    late_rounds: int
    sessions: int
    commits: int
    groups: int
    one_way: int
    in_flight: int
    pings: int
    waiting: int
    rounds: int
    newcomers: int


FULL: Final = Counts(
    operations=3000,
    handshakes=300,
    chain=1000,
    late_rounds=5,
    sessions=10_000,
    commits=400,
    groups=60,
    one_way=2000,
    in_flight=64,
    pings=300,
    waiting=500,
    rounds=3,
    newcomers=7,
)

TINY: Final = Counts(
    operations=20,
    handshakes=2,
    chain=10,
    late_rounds=1,
    sessions=200,
    commits=5,
    groups=2,
    one_way=20,
    in_flight=16,
    pings=5,
    waiting=10,
    rounds=1,
    newcomers=1,
)
"""For the test of the bench itself: its figures mean nothing."""
