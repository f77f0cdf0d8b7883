"""Bundles a second of one to three directory processes on either database, few users and many.

The numbers of users take their turns round by round, so that what else happens on the machine
happens to all of them.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from statistics import mean, median
from typing import Final

from tests.bench.brokers.workers import GoneError, running_process
from tests.bench.rows import NS_PER_MS, quantile
from tests.bench.scale.counts import Counts
from tests.bench.scale.cpu import Meter, Seconds, alone, whole
from tests.bench.scale.gateway import Asked, Gateway, connected, requests
from tests.bench.scale.processes import ratchetmq, ready, running_mosquitto
from tests.bench.scale.stock import ASKERS, Stock, stocked
from tests.bench.scale.users import target_names
from tests.postgres import Postgres, postgres_in, programs

WINDOW: Final = 64
"""Requests under way at one time when the rate is measured; one where the time is."""

KINDS: Final = ("sqlite", "postgresql")


@dataclass(frozen=True)
class BundleRow:
    """What so many replicas did on one database.

    Attributes:
        rate: Bundles a second with ``WINDOW`` under way, the median of the rounds.
        p50: Milliseconds of one bundle at a time.
        samples: How many of those.
        cores: What each part used of the processors while the rate was taken.
        machine: The busy share of all cores meanwhile.
    """

    database: str
    users: int
    replicas: int
    rate: float
    p50: float
    p99: float
    samples: int
    cores: dict[str, float]
    machine: float


@dataclass
class Scene:
    """Replicas that run on one stock, and what was measured of them."""

    stock: Stock
    replicas: int
    gateway: Gateway
    asked: Iterator[Asked]
    parts: dict[str, Seconds]
    rates: list[float] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    meters: list[Meter] = field(default_factory=list)

    async def warm(self) -> None:
        """Have each asker known and each connection open before anything is timed."""
        await self.gateway.ask_all(self._next(ASKERS), WINDOW)

    async def take(self, counts: Counts) -> None:
        """Ask for some bundles one by one, then for many at once."""
        self.times += await self.gateway.ask_all(self._next(counts.alone), 1)
        many = self._next(counts.at_once)
        loop = asyncio.get_running_loop()
        with Meter(self.parts) as meter:
            began = loop.time()
            await self.gateway.ask_all(many, WINDOW)
            self.rates.append(counts.at_once / (loop.time() - began))
        self.meters.append(meter)

    def row(self) -> BundleRow:
        cores = {
            name: mean(meter.cores[name] for meter in self.meters) for name in self.meters[0].cores
        }
        return BundleRow(
            self.stock.kind,
            self.stock.users,
            self.replicas,
            median(self.rates),
            quantile(self.times, 0.5) / NS_PER_MS,
            quantile(self.times, 0.99) / NS_PER_MS,
            len(self.times),
            cores,
            mean(meter.machine for meter in self.meters),
        )

    def _next(self, count: int) -> Iterator[Asked]:
        return iter(list(islice(self.asked, count)))  # signed before the clock runs


async def measure_directory(
    counts: Counts, kinds: Sequence[str], keep: Path, rows: list[BundleRow], notes: list[str]
) -> None:
    """Add the rows of the databases; one that fails is noted, the others go on."""
    for kind in kinds:
        try:
            await _measure_kind(counts, kind, keep, rows)
        except GoneError as error:
            notes.append(f"{kind}: {error}")
            print(f"  {notes[-1]}", flush=True)


async def _measure_kind(counts: Counts, kind: str, keep: Path, rows: list[BundleRow]) -> None:
    async with AsyncExitStack() as stack:
        server = stack.enter_context(_server(kind, keep))
        stocks = [
            await stack.enter_async_context(stocked(kind, users, counts.replicas, keep, server))
            for users in counts.users
        ]
        for replicas in range(1, counts.replicas + 1):
            await _measure(counts, stocks, replicas, server, rows)


async def _measure(
    counts: Counts,
    stocks: Sequence[Stock],
    replicas: int,
    server: Postgres | None,
    rows: list[BundleRow],
) -> None:
    async with AsyncExitStack() as stack:
        scenes = [
            await stack.enter_async_context(_running(stock, replicas, server)) for stock in stocks
        ]
        for scene in scenes:
            await scene.warm()
        for _ in range(counts.rounds):
            for scene in scenes:
                await scene.take(counts)
    for scene in scenes:
        row = scene.row()
        rows.append(row)
        print(
            f"{row.database}, {row.users:,} users, replicas {replicas}: {row.rate:.0f} bundles/s,"
            f" one at a time p50 / p99 {row.p50:.2f} / {row.p99:.2f} ms",
            flush=True,
        )


@asynccontextmanager
async def _running(stock: Stock, replicas: int, server: Postgres | None) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(running_mosquitto(stock.folder))
        pids = []
        for number in range(replicas):
            place = ("--data", stock.settings.data_dir, "--database", stock.settings.database)
            who = ("--broker-url", broker.url, "--replica", f"r{number}")
            command = ratchetmq("keydir", "--json", *place, *who)
            process = await stack.enter_async_context(running_process(command))
            await ready(process)
            pids.append(process.pid)
        gateway = await stack.enter_async_context(connected(broker.url))
        parts = {"directory": alone(*pids), "broker": alone(broker.pid), "load": alone(os.getpid())}
        if server is not None:
            assert server.process is not None
            parts["database"] = whole(server.process.pid)
        asked = requests(stock.groups[replicas - 1], target_names(stock.users))
        yield Scene(stock, replicas, gateway, asked, parts)


@contextmanager
def _server(kind: str, keep: Path) -> Iterator[Postgres | None]:
    if kind == "sqlite":
        yield None
        return
    if programs() is None:
        raise GoneError("PostgreSQL's server is not installed (Debian: postgresql)")
    folder = keep / "postgresql"
    folder.mkdir(parents=True, exist_ok=True)
    with postgres_in(folder, fsync=True) as server:
        yield server
