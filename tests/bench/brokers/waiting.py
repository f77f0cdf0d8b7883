"""Messages that wait for one user among many more for others: connect to all received."""

import asyncio
import time
from typing import Final

from tests.bench.brokers.brokers import WAITING_FOR, Broker, running
from tests.bench.brokers.field import Run
from tests.bench.brokers.names import BOB, READERS, SENDERS, filter_of, secrets_of
from tests.bench.brokers.sheet import Line
from tests.bench.brokers.workers import GoneError, WorkerProcess, running_worker
from tests.bench.rows import NS_PER_MS

SETTLE_SECONDS: Final = 20.0
"""For what a broker still does with messages that it has acknowledged."""

_LOOK_SECONDS: Final = 0.3
_IDLE_SECONDS: Final = 0.03
_READ: Final = "waiting.read"
_FILLED: Final = Line("waiting.filled", "messages of others that were left in the time", "msg")
_LEFT: Final = Line("waiting.left", "leaving them, 20 senders at once", "msg/s")
_MEMORY: Final = Line("memory.waiting", "memory with all of them waiting", "MB")
_AFTER: Final = Line("memory.read", "memory after the user read them", "MB")
_EACH: Final = Line("memory.message", "memory for one waiting message of 300 B", "B")


async def measure_waiting(run: Run) -> None:
    """Fill one broker after another, then connect the one user."""
    if not any(run.sheet.wants(key) for key in (_READ, *(line.key for line in (_EACH, _LEFT)))):
        return
    for name in run.names:
        if name not in WAITING_FOR:
            continue
        print(f"waiting mail: {name}", flush=True)
        try:
            async with (
                running(name, run.scratch / "waiting" / name, secrets_of(0), run.nats_server) as it,
                running_worker() as filler,
                running_worker(run.client) as far,
            ):
                before = it.resident_mb()
                filled = await _fill(run, it, filler)
                memory = it.resident_mb()
                run.sheet.add(_MEMORY, name, memory)
                run.sheet.add(_EACH, name, (memory - before) * (1 << 20) / filled)
                await _read(run, it, far)
                run.sheet.add(_AFTER, name, it.resident_mb())
        except GoneError as error:
            run.sheet.note(name, f"waiting mail: {error}")


async def _fill(run: Run, broker: Broker, filler: WorkerProcess) -> int:
    counts, began = run.counts, time.monotonic()
    wanted = len(SENDERS) * len(READERS) * counts.others_waiting
    others = await filler.ask(
        "fill",
        port=broker.port,
        recipients=READERS,
        each=counts.others_waiting,
        seconds=counts.fill_seconds,
    )
    took = time.monotonic() - began
    run.sheet.add(_FILLED, broker.name, others["acked"])
    run.sheet.add(_LEFT, broker.name, others["acked"] / took)
    if others["acked"] < wanted:
        told = f"only {others['acked']:,} of {wanted:,} messages of others in {took:.0f} s"
        run.sheet.note(broker.name, told)
    own = await filler.ask(
        "fill",
        port=broker.port,
        recipients=[BOB],
        each=counts.waiting,
        seconds=counts.fill_seconds / 3,
    )
    await _settle(broker)
    if own["acked"] < len(SENDERS) * counts.waiting:
        raise GoneError(f"only {own['acked']:,} messages of the user were left in the time")
    return int(others["acked"] + own["acked"])


async def _read(run: Run, broker: Broker, far: WorkerProcess) -> None:
    wanted = len(SENDERS) * run.counts.waiting
    at, filters = broker.at(BOB), [filter_of(BOB)]
    opened = await far.ask("open", at=at, port=broker.port, login=BOB, filters=filters, qos=run.qos)
    seconds = 2 * run.counts.patience_seconds
    found = await far.ask("gathered", at=at, count=wanted, seconds=seconds)
    if found["received"] < wanted:
        told = f"{found['received']:,} of {wanted:,} waiting messages arrived in {seconds:.0f} s"
        raise GoneError(told)
    line = Line(_READ, f"{wanted:,} waiting for one user: connect to all received", "ms")
    run.sheet.add(line, broker.name, (found["last"] - opened["began"]) / NS_PER_MS)


async def _settle(broker: Broker) -> None:
    """Wait until the broker is idle: one that acknowledges first works on."""
    until = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < until:
        used = broker.cpu_seconds()
        await asyncio.sleep(_LOOK_SECONDS)
        if broker.cpu_seconds() - used < _IDLE_SECONDS:
            return
