"""How much is measured: enough for steady figures in twenty minutes, or one of each to run it."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers and bounds of a run.

    Attributes:
        users: Of the directory's databases.
        replicas: The most that answer at a time; one to so many are measured.
        rounds: Turns that the numbers of users take.
        alone: Bundles of a round that are asked for one by one.
        at_once: Bundles of a round that are asked for many at a time.
        clients: How many write to each other.
        paced: Messages a second of all clients together, where times are measured.
        seconds: How long each load of messages lasts.
        settle: Seconds of quiet before the first, in which clients that connected come to rest.
    """

    users: tuple[int, ...]
    replicas: int
    rounds: int
    alone: int
    at_once: int
    clients: tuple[int, ...]
    paced: float
    seconds: float
    settle: float


FULL: Final = Counts(
    users=(1000, 1_000_000),
    replicas=3,
    rounds=4,
    alone=250,
    at_once=800,
    clients=(2, 50, 500),
    paced=50.0,
    seconds=10.0,
    settle=3.0,
)

TINY: Final = Counts(
    users=(50,),
    replicas=1,
    rounds=1,
    alone=5,
    at_once=20,
    clients=(2,),
    paced=20.0,
    seconds=0.5,
    settle=0.0,
)
"""For the test of the bench itself: its figures mean nothing."""
