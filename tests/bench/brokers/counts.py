"""How much is measured: a run of less than ten minutes, or just enough to run every path."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Counts:
    """Bounds of each kind.

    Attributes:
        rounds: Turns of every broker at what travels, fewer when their time is over.
        travel_seconds: That time.
        crowd_rounds: Turns at each size of the crowd, fewer when their time is over.
        size_seconds: That time, for each size.
        cell_seconds: How long one measurement is to take; its count follows from a probe.
        probe: Messages of that probe, and the fewest of a measurement.
        most: The most messages of one measurement.
        patience_seconds: After that a burst that is not complete is cut.
        pings: Rounds of one ping-pong.
        windows: Unacknowledged publications of the sender.
        crowds: Other subscribers.
        crowd_seconds: For connecting them up to each size.
        waiting: Messages of each sender for the one user.
        others_waiting: Messages of each sender for each of the other users.
        fill_seconds: For all of the others' messages; for the user's a third of it.
        run_seconds: The whole run is cut after it.
    """

    rounds: int
    travel_seconds: float
    crowd_rounds: int
    size_seconds: float
    cell_seconds: float
    probe: int
    most: int
    patience_seconds: float
    pings: int
    windows: tuple[int, ...]
    crowds: tuple[int, ...]
    crowd_seconds: float
    waiting: int
    others_waiting: int
    fill_seconds: float
    run_seconds: float


FULL = Counts(
    rounds=3,
    travel_seconds=170,
    crowd_rounds=2,
    size_seconds=40,
    cell_seconds=0.6,
    probe=200,
    most=30_000,
    patience_seconds=8,
    pings=1_000,
    windows=(1, 20, 100),
    crowds=(10, 1_000, 10_000),
    crowd_seconds=30,
    waiting=1_000,
    others_waiting=500,
    fill_seconds=36,
    run_seconds=600,
)
TINY = Counts(
    rounds=1,
    travel_seconds=20,
    crowd_rounds=1,
    size_seconds=10,
    cell_seconds=0.02,
    probe=20,
    most=40,
    patience_seconds=5,
    pings=10,
    windows=(1, 20),
    crowds=(2, 10),
    crowd_seconds=5,
    waiting=2,
    others_waiting=1,
    fill_seconds=3,
    run_seconds=60,
)
