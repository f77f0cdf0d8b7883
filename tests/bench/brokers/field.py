"""Brokers that run side by side with the two processes of the load connected to each."""

from collections.abc import AsyncIterator, Awaitable, Callable, Container
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.bench.brokers.brokers import Broker, running
from tests.bench.brokers.counts import Counts
from tests.bench.brokers.names import (
    ALICE,
    BOB,
    answers_filter,
    filter_of,
    recipient_of,
    secrets_of,
)
from tests.bench.brokers.sheet import Line, Sheet
from tests.bench.brokers.workers import GoneError, WorkerProcess, running_worker
from tests.bench.rows import NS_PER_S

DIRECTORY: Final = recipient_of("plain")
US_PER_S: Final = 1_000_000


@dataclass(slots=True)
class Run:
    """What was asked for, and where it is noted."""

    counts: Counts
    sheet: Sheet
    names: list[str]
    scratch: Path
    nats_server: Path | None = None
    client: str = "raw"
    qos: int = 1


@dataclass(slots=True)
class Field:
    """Running brokers and the load's processes: ``near`` sends, ``far`` receives."""

    run: Run
    near: WorkerProcess
    far: WorkerProcess
    brokers: list[Broker] = field(default_factory=list)

    async def in_turn(self, title: str, act: Callable[[Broker], Awaitable[None]]) -> None:
        """Have each broker do it; one that fails is told and left out from then on."""
        print(title, flush=True)
        for broker in list(self.brokers):
            try:
                await act(broker)
            except GoneError as error:
                self.run.sheet.note(broker.name, f"left out after {title!r}: {error}")
                self.brokers.remove(broker)

    async def cell(self, broker: Broker, line: Line, kind: str, window: int) -> None:
        """Measure one burst of messages after a probe; rate, p50 and p99 are noted."""
        counts, sheet = self.run.counts, self.run.sheet
        rate = (await self._burst(broker, kind, window, counts.probe))["rate"]
        count = max(counts.probe, min(counts.most, int(rate * counts.cell_seconds)))
        used = broker.cpu_seconds()
        found = await self._burst(broker, kind, window, count)
        used = broker.cpu_seconds() - used
        sheet.add(line, broker.name, found["rate"])
        cpu = Line(f"{line.key}.cpu", f"{line.title}: broker's CPU a message", "us")
        sheet.add(cpu, broker.name, used * US_PER_S / found["received"])
        for share in ("p50", "p99"):
            quantile = Line(f"{line.key}.{share}", f"{line.title}, {share}", "ms")
            sheet.add(quantile, broker.name, found[f"{share}_ms"])

    async def _burst(self, broker: Broker, kind: str, window: int, count: int) -> dict[str, float]:
        seconds, recipient = self.run.counts.patience_seconds, recipient_of(kind)
        there = broker.at(recipient)
        await self.far.ask("gather", at=there, clear=kind == "mail")
        sent = await self.near.ask(
            "pump",
            at=broker.at(ALICE),
            login=ALICE,
            to=recipient,
            kind=kind,
            window=window,
            count=count,
            seconds=seconds,
        )
        found = await self.far.ask("gathered", at=there, count=sent["sent"], seconds=seconds)
        if found["received"] < sent["sent"]:
            told = f"{found['received']:,} of {sent['sent']:,} arrived in {seconds:.0f} s"
            raise GoneError(told)
        if found["duplicates"]:
            self.run.sheet.note(broker.name, "messages arrived twice")
        return {**found, "rate": found["received"] * NS_PER_S / (found["last"] - sent["began"])}


@asynccontextmanager
async def playing_field(
    run: Run, stage: str, names: Container[str], others: int
) -> AsyncIterator[Field]:
    """Start every broker with nobody connected but the load."""
    async with AsyncExitStack() as stack:
        near = await stack.enter_async_context(running_worker(run.client))
        far = await stack.enter_async_context(running_worker(run.client))
        playing = Field(run, near, far)
        for name in run.names:
            if name not in names:
                continue
            started = running(name, run.scratch / stage / name, secrets_of(others), run.nats_server)
            try:
                broker = await stack.enter_async_context(started)
                empty = Line("memory.empty", "memory of the broker, nobody connected", "MB")
                if stage == "travel":
                    run.sheet.add(empty, name, broker.resident_mb())
                await _connect(playing, broker)
            except GoneError as error:
                run.sheet.note(name, f"left out of {stage}: {error}")
                continue
            playing.brokers.append(broker)
        yield playing


async def _connect(playing: Field, broker: Broker) -> None:
    qos, port = playing.run.qos, broker.port
    own = [filter_of(ALICE), answers_filter(ALICE)]
    at, far = broker.at, playing.far
    await playing.near.ask("open", at=at(ALICE), port=port, login=ALICE, filters=own, qos=qos)
    for login in (BOB, DIRECTORY):
        filters = [filter_of(login)]
        await far.ask("open", at=at(login), port=port, login=login, filters=filters, qos=qos)
