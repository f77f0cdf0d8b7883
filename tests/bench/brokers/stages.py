"""The measurements: what travels, ping-pong, a crowd of other subscribers, mail that waits."""

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

from tests.bench.brokers.brokers import Broker
from tests.bench.brokers.field import Field, Run, playing_field
from tests.bench.brokers.names import ALICE, KINDS, WORDS, recipient_of
from tests.bench.brokers.sheet import Line
from tests.bench.brokers.waiting import measure_waiting
from tests.bench.brokers.workers import GoneError, WorkerProcess, running_worker

CROWD_WINDOW: Final = 20
CROWDED: Final = ("ours", "amqtt", "mosquitto", "nats", "nats-always")
"""Without amqtt's second plugin: its linear scan alone takes minutes here."""


async def measure_travel(run: Run) -> None:
    """Publish to receive at each window, and ping-pong, with no other subscriber."""
    counts = run.counts
    lines = {
        Line(f"{kind}.w{window}", f"{WORDS[kind]}, window {window}", "msg/s"): (kind, window)
        for kind in KINDS
        for window in counts.windows
    }
    pings = {Line(f"ping.{kind}", f"ping-pong, {WORDS[kind]}", "ms"): kind for kind in KINDS}
    wants = run.sheet.wants
    if not any(wants(line.key) for line in (*lines, *pings)):
        return
    async with playing_field(run, "travel", run.names, 0) as field:
        for number in _rounds(counts.rounds, counts.travel_seconds):
            for line, (kind, window) in lines.items():
                if wants(line.key):
                    act = partial(field.cell, line=line, kind=kind, window=window)
                    await field.in_turn(f"round {number}: {line.title}", act)
            for line, kind in pings.items():
                if wants(line.key):
                    act = partial(_ping, field, line, kind)
                    await field.in_turn(f"round {number}: {line.title}", act)


async def _ping(field: Field, line: Line, kind: str, broker: Broker) -> None:
    counts, to = field.run.counts, recipient_of(kind)
    await field.far.ask("echo", at=broker.at(to), kind=kind)
    found = await field.near.ask(
        "ping",
        at=broker.at(ALICE),
        login=ALICE,
        to=to,
        kind=kind,
        count=counts.pings,
        seconds=counts.patience_seconds,
    )
    if not found["rounds"]:
        raise GoneError("no answer came back")
    for share in ("p50", "p99"):
        quantile = Line(f"{line.key}.{share}", f"{line.title}, {share}", "ms")
        field.run.sheet.add(quantile, broker.name, found[f"{share}_ms"])


async def measure_crowd(run: Run) -> None:
    """The same messages while more and more others are connected, each with one filter.

    A second broker of ours stays with the fewest and has its turn beside the one with the most:
    figures of different minutes would compare the machine's other work.
    """
    few, largest = run.counts.crowds[0], run.counts.crowds[-1]
    lines = {size: [_crowd_line(kind, size) for kind in KINDS] for size in run.counts.crowds}
    if not any(run.sheet.wants(line.key) for some in lines.values() for line in some):
        return
    async with AsyncExitStack() as stack:
        field = await stack.enter_async_context(playing_field(run, "crowd", CROWDED, largest))
        beside = await stack.enter_async_context(playing_field(run, "beside", ("ours",), few))
        helpers = {
            broker.port: await stack.enter_async_context(running_worker())
            for broker in (*field.brokers, *beside.brokers)
        }
        await beside.in_turn("connecting beside", partial(_connect, beside, helpers, few))
        for size in run.counts.crowds:
            connect = partial(_connect, field, helpers, size)
            await field.in_turn(f"connecting {size:,} others", connect)
            for number in _rounds(run.counts.crowd_rounds, run.counts.size_seconds):
                for kind, line in zip(KINDS, lines[size], strict=True):
                    if not run.sheet.wants(line.key):
                        continue
                    act = partial(field.cell, line=line, kind=kind, window=CROWD_WINDOW)
                    await field.in_turn(f"round {number}: {line.title}", act)
                    if size == largest:
                        again = _crowd_line(kind, few, f"beside {largest:,}")
                        act = partial(beside.cell, line=again, kind=kind, window=CROWD_WINDOW)
                        await beside.in_turn(f"round {number}: {again.title}", act)
        line = Line("memory.crowd", f"memory with {largest:,} others connected", "MB")
        await field.in_turn(line.title, partial(_note_memory, field, line))


def _rounds(most: int, seconds: float) -> Iterator[int]:
    """Number the rounds; one that would not end in time is not begun, the first always is."""
    began = time.monotonic()
    for number in range(1, most + 1):
        yield number
        used = time.monotonic() - began
        if used * (number + 1) / number > seconds:
            return


def _crowd_line(kind: str, size: int, more: str = "") -> Line:
    title = f"{WORDS[kind]}, window {CROWD_WINDOW}, {size:,} others{more and f', {more}'}"
    return Line(f"crowd.{kind}.{size}{more and '.beside'}", title, "msg/s")


async def _connect(
    field: Field, helpers: dict[int, WorkerProcess], size: int, broker: Broker
) -> None:
    seconds = field.run.counts.crowd_seconds
    found = await helpers[broker.port].ask("crowd", port=broker.port, count=size, seconds=seconds)
    if found["open"] < size:
        told = f"only {found['open']:,} of {size:,} others were connected in {seconds:.0f} s"
        field.run.sheet.note(broker.name, f"{told}; its rows for {size:,} are with those")


async def _note_memory(field: Field, line: Line, broker: Broker) -> None:
    field.run.sheet.add(line, broker.name, broker.resident_mb())


STAGES: Final[dict[str, Callable[[Run], Awaitable[None]]]] = {
    "travel": measure_travel,
    "crowd": measure_crowd,
    "waiting": measure_waiting,
}
