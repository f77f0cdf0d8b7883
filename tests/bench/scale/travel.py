"""Messages end to end over each broker, with few clients and many."""

import asyncio
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.bench.brokers.workers import GoneError
from tests.bench.rows import NS_PER_MS, NS_PER_S, quantile
from tests.bench.scale.counts import Counts
from tests.bench.scale.cpu import Meter, Seconds, alone
from tests.bench.scale.deployments import TITLES, deployed
from tests.bench.scale.fleet import Fleet, known, note_known, running_fleet

UNDER_WAY: Final = 64
"""Messages that are at least under way together at the highest rate; one a client with more."""

WARM: Final = 0.2
"""The part of a load at its begin that does not count."""


@dataclass(frozen=True)
class TravelRow:
    """What so many clients did over one broker.

    Attributes:
        rate: Messages handed over a second, each hand-over being answered by a message.
        full_p50: Milliseconds from ``send`` to the hand-over at that rate.
        paced: Messages a second that were sent in the second load, at fixed times.
        p50: Milliseconds from ``send`` to the hand-over at that pace.
        samples: Messages of the second load.
        cores: What each part used of the processors at the highest rate.
        machine: The busy share of all cores meanwhile.
    """

    broker: str
    clients: int
    rate: float
    full_p50: float
    full_p99: float
    paced: float
    p50: float
    p99: float
    samples: int
    cores: dict[str, float] = field(default_factory=dict)
    machine: float = 0.0


Taken = list[tuple[int, int]]


async def measure_travel(
    counts: Counts, brokers: Sequence[str], keep: Path, rows: list[TravelRow], notes: list[str]
) -> None:
    """Add the rows of the brokers; one that is missing or fails is noted, the others go on."""
    folder = keep / "fleet"
    most = max(counts.clients)
    await _enroll(folder, most)
    for name in brokers:
        try:
            await _measure(counts, name, folder, rows)
        except GoneError as error:
            notes.append(f"{TITLES[name]}: {error}")
            print(f"  {notes[-1]}", flush=True)


async def _enroll(folder: Path, count: int) -> None:
    """Have every device enrolled, and every pair know each other."""
    if known(folder) >= count:
        print(f"{known(folder)} kept devices found", flush=True)
        return
    _make_empty(folder)
    began = time.monotonic()
    async with deployed("embedded", folder) as deployment, running_fleet(folder, count) as fleet:
        await fleet.prepare(count, deployment.urls)
    note_known(folder, count)
    print(f"{count} devices enrolled in {time.monotonic() - began:.0f} s", flush=True)


def _make_empty(folder: Path) -> None:
    """Remove what an earlier run began and did not finish."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


async def _measure(counts: Counts, name: str, folder: Path, rows: list[TravelRow]) -> None:
    async with (
        deployed(name, folder) as deployment,
        running_fleet(folder, max(counts.clients)) as fleet,
    ):
        clock = alone(*(process.pid for process in fleet.processes))
        parts = {**deployment.parts, "clients": clock}
        open_now = 0
        for clients in counts.clients:
            await fleet.open(range(open_now, clients), deployment.urls)
            open_now = clients
            await asyncio.sleep(counts.settle)
            row = await _row(counts, name, clients, fleet, parts)
            rows.append(row)
            print(
                f"{TITLES[name]}, {clients} clients: {row.rate:.0f} messages/s,"
                f" at {row.paced:.0f}/s p50 / p99 {row.p50:.1f} / {row.p99:.1f} ms",
                flush=True,
            )
        await fleet.all("close")


async def _row(
    counts: Counts, name: str, clients: int, fleet: Fleet, parts: dict[str, Seconds]
) -> TravelRow:
    seconds = counts.seconds
    began = time.monotonic_ns()
    with Meter(parts) as meter:
        await fleet.all("closed", seconds=seconds, window=max(1, UNDER_WAY // clients))
    first, last = began + round(WARM * seconds * NS_PER_S), began + round(seconds * NS_PER_S)
    taken = await _taken(fleet)
    full = [one for one in taken if first <= one[1] < last]
    if not full:  # a machine that is too busy: all that came, in the time that it took
        full, first, last = taken, began, max(at for _, at in taken)
    # Behind the other load, so that what clients do after they connected is over.
    await fleet.all("paced", seconds=seconds, interval=clients / counts.paced)
    paced = await _taken(fleet)
    times, full_times = _times(paced), _times(full)
    return TravelRow(
        name,
        clients,
        len(full) * NS_PER_S / (last - first),
        quantile(full_times, 0.5),
        quantile(full_times, 0.99),
        len(paced) / seconds,
        quantile(times, 0.5),
        quantile(times, 0.99),
        len(times),
        meter.cores,
        meter.machine,
    )


async def _taken(fleet: Fleet) -> Taken:
    """Wait until all has arrived and been receipted, and return what was handed over."""
    await fleet.all("drain")
    found = [(sent, at) for some in await fleet.all("taken") for sent, at in some]
    if not found:
        raise GoneError("no message arrived")
    return found


def _times(taken: Taken) -> list[float]:
    return [(at - sent) / NS_PER_MS for sent, at in taken]
