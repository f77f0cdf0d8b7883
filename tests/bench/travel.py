"""What travels: two processes with Messengers over a third one with broker and directory.

Each figure is taken in turns with its counterpart: the same number of random bytes of an
envelope's size, published retained at QoS 1 by two devices' own logins with aiomqtt alone.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from client_sdk import Messenger, entropy
from client_sdk.machine.events import Delivered
from client_sdk.wire.ids import DeviceAddress
from tests.bench.bare import BareDevice
from tests.bench.counts import Counts
from tests.bench.ratchet import End
from tests.bench.rows import NS_PER_S, Label, Row, rate_row, time_row
from tests.bench.system import PeerProcess, System, device_login, running_peer, running_server
from tests.vectors.core_parties import established

TEXT: Final = "x" * 64
PATIENCE_SECONDS: Final = 60.0
QUIET_SECONDS: Final = 1.2
"""After this long a conversation is quiet again, and what upkeep does at a start is over."""

PAIRS: Final = (
    ("dora", "doctor"),
    ("pat", "patient"),
    ("raw_dora", "doctor"),
    ("raw_pat", "patient"),
)


@dataclass
class Taken:
    """Samples of all rounds: times in ns, rates in messages a second."""

    handed_over: list[float] = field(default_factory=list)
    receipted: list[float] = field(default_factory=list)
    raw_one_way: list[float] = field(default_factory=list)
    pings: list[int] = field(default_factory=list)
    raw_pings: list[int] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    raw_waiting: list[int] = field(default_factory=list)
    first: list[int] = field(default_factory=list)
    raw_first: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Bench:
    """Everything that runs while messages travel."""

    counts: Counts
    system: System
    qos: int
    taken: Taken
    peer: PeerProcess
    raw_peer: PeerProcess
    raw: BareDevice
    payload: bytes

    @property
    def raw_recipient(self) -> DeviceAddress:
        return DeviceAddress("raw_pat-1")


async def measure_travel(counts: Counts, folder: Path, qos: int) -> list[Row]:
    """Return the rows of what travels, with subscriptions of this QoS."""
    async with _bench(counts, folder, qos) as bench:
        await _first_messages(bench)
        for _ in range(counts.rounds):
            await _raw_round(bench)
            await _round(bench)
    return _rows(bench.taken, counts)


@asynccontextmanager
async def _bench(counts: Counts, folder: Path, qos: int) -> AsyncIterator[Bench]:
    payload = entropy.draw_bytes(len(End(established()[0]).encrypt().data))
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        system = await enter(running_server(folder))
        for user, role in PAIRS:
            await system.enroll(user, role)
        for number in range(counts.newcomers):
            await system.enroll(f"new_{number}", "doctor")
        peer = await enter(running_peer("messenger", system.store("pat"), qos))
        raw_peer = await enter(running_peer("bare", system.store("raw_pat"), qos))
        raw = await enter(BareDevice(await device_login(system.store("raw_dora"))))
        yield Bench(counts, system, qos, Taken(), peer, raw_peer, raw, payload)


async def _first_messages(bench: Bench) -> None:
    """Newcomers write to somebody who has never heard of them, all being online."""
    await bench.peer.open()
    await bench.raw_peer.open()
    for number in range(bench.counts.newcomers):
        async with _online(bench.system.store(f"new_{number}")) as newcomer:
            await asyncio.sleep(QUIET_SECONDS)
            await bench.peer.count(1)
            began = time.monotonic_ns()
            await newcomer.send("pat", TEXT)
            bench.taken.first.append(await bench.peer.done() - began)
        await bench.raw_peer.count(1)
        began = time.monotonic_ns()
        await bench.raw.publish(bench.raw_recipient, bench.payload)
        bench.taken.raw_first.append(await bench.raw_peer.done() - began)
    await bench.peer.close()
    await bench.raw_peer.close()


async def _round(bench: Bench) -> None:
    counts, taken = bench.counts, bench.taken
    async with _online(bench.system.store("dora")) as dora:

        async def send() -> None:
            await dora.send("pat", TEXT)

        await bench.peer.open()
        await asyncio.sleep(QUIET_SECONDS)
        await _one_way(bench, dora)
        await bench.peer.echo()
        messages = dora.messages()

        async def ping() -> None:
            await dora.send("pat", TEXT)
            await anext(messages)

        taken.pings += [await _timed(ping) for _ in range(counts.pings)]
        await _drained(dora)
        await bench.peer.close()
        sent = [await dora.send("pat", TEXT) for _ in range(counts.waiting)]
        await asyncio.gather(*(one.published(PATIENCE_SECONDS) for one in sent))
        taken.waiting.append(await _catch_up(bench.peer, counts.waiting))
    await bench.peer.close()


async def _drained(messenger: Messenger) -> None:
    """Wait until nothing of earlier rounds is under way: it would fill the window."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await messenger.counts()).under_way:  # noqa: ASYNC110 - no event says this
            await asyncio.sleep(0.05)


async def _one_way(bench: Bench, dora: Messenger) -> None:
    counts, taken = bench.counts, bench.taken
    await bench.peer.count(counts.one_way)
    began = time.monotonic_ns()
    receipts = asyncio.create_task(_receipts(dora, counts.one_way))

    async def send() -> None:
        await dora.send("pat", TEXT)

    await _in_flight(send, counts.one_way, counts.in_flight)
    handed_over = await bench.peer.done()
    async with asyncio.timeout(PATIENCE_SECONDS):
        receipted = await receipts
    taken.handed_over.append(counts.one_way * NS_PER_S / (handed_over - began))
    taken.receipted.append(counts.one_way * NS_PER_S / (receipted - began))


async def _receipts(messenger: Messenger, count: int) -> int:
    """Return when ``count`` different messages had their sealed receipts."""
    delivered: set[bytes] = set()
    async for event in messenger.events():
        if isinstance(event, Delivered):
            delivered.add(event.message_id)
        if len(delivered) == count:
            break
    return time.monotonic_ns()


async def _raw_round(bench: Bench) -> None:
    counts, taken, recipient = bench.counts, bench.taken, bench.raw_recipient

    async def publish() -> None:
        await bench.raw.publish(recipient, bench.payload)

    incoming = bench.raw.incoming()

    async def ping() -> None:
        await publish()
        back = await anext(incoming)
        clears.append(asyncio.create_task(bench.raw.clear(back.topic)))

    clears: list[asyncio.Task[None]] = []
    await bench.raw_peer.open()
    await bench.raw_peer.count(counts.one_way)
    began = time.monotonic_ns()
    await _in_flight(publish, counts.one_way, counts.in_flight)
    done = await bench.raw_peer.done()
    taken.raw_one_way.append(counts.one_way * NS_PER_S / (done - began))
    await bench.raw_peer.echo()
    taken.raw_pings += [await _timed(ping) for _ in range(counts.pings)]
    await asyncio.gather(*clears)
    await bench.raw_peer.close()
    await _in_flight(publish, counts.waiting, counts.in_flight)
    taken.raw_waiting.append(await _catch_up(bench.raw_peer, counts.waiting))
    await bench.raw_peer.close()


async def _catch_up(peer: PeerProcess, count: int) -> int:
    """Return the ns from before a peer connects to its having all that waited."""
    await peer.count(count)
    peer.tell("open")
    began = await peer.hear("connected")
    return await peer.done() - began


async def _in_flight(one: Callable[[], Awaitable[None]], count: int, width: int) -> None:
    """Run ``one`` ``count`` times, ``width`` at a time."""
    left = iter(range(count))

    async def worker() -> None:
        for _ in left:
            await one()

    async with asyncio.TaskGroup() as group:
        for _ in range(width):
            group.create_task(worker())


async def _timed(one: Callable[[], Awaitable[None]]) -> int:
    began = time.perf_counter_ns()
    await one()
    return time.perf_counter_ns() - began


@asynccontextmanager
async def _online(store: Path) -> AsyncIterator[Messenger]:
    async with Messenger.open(store) as messenger:
        if not await messenger.wait_connected(PATIENCE_SECONDS):
            raise RuntimeError("the bench's own server does not answer")
        yield messenger


def _rows(taken: Taken, counts: Counts) -> list[Row]:
    flight, waiting = counts.in_flight, counts.waiting
    rate, ping = "raw.one_way", "raw.ping_pong"
    handed = f"one way, {flight} in flight, until handed over"
    receipted = f"one way, {flight} in flight, until all receipts are back"
    return [
        rate_row(Label(rate, f"raw: one way, {flight} in flight, until read"), taken.raw_one_way),
        time_row(Label(f"{ping}_p50", "raw: ping-pong round trip, p50"), "ms", taken.raw_pings),
        time_row(
            Label(f"{ping}_p99", "raw: ping-pong round trip, p99"), "ms", taken.raw_pings, 0.99
        ),
        time_row(
            Label("raw.waiting", f"raw: {waiting} waiting, connect to all read"),
            "ms",
            taken.raw_waiting,
        ),
        time_row(Label("raw.first", "raw: one message, publish to read"), "ms", taken.raw_first),
        rate_row(Label("travel.one_way", handed, rate), taken.handed_over),
        rate_row(Label("travel.receipted", receipted, rate), taken.receipted),
        time_row(
            Label("travel.ping_pong_p50", "ping-pong round trip, p50", f"{ping}_p50"),
            "ms",
            taken.pings,
        ),
        time_row(
            Label("travel.ping_pong_p99", "ping-pong round trip, p99", f"{ping}_p99"),
            "ms",
            taken.pings,
            0.99,
        ),
        time_row(
            Label("travel.waiting", f"{waiting} waiting, connect to all decrypted", "raw.waiting"),
            "ms",
            taken.waiting,
        ),
        time_row(
            Label("travel.first", "first message, send to decrypted", "raw.first"),
            "ms",
            taken.first,
        ),
    ]
