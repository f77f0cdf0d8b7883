"""How much one open device lets lie on the broker, and when it gives up sending."""

import asyncio
from collections.abc import Awaitable, Callable

from client_sdk.delivery.clock import now_ms
from client_sdk.delivery.outbox import MAX_UNRECEIPTED_BYTES, MAX_UNRECEIPTED_ENVELOPES
from client_sdk.machine.events import Failed
from client_sdk.machine.rows import MessageState
from client_sdk.wire.ids import DeviceAddress, UserName
from tests.simulation.devices import Device, device, prekeys_ready
from tests.simulation.memory_broker import MemoryBroker
from tests.simulation.small_directory import SmallDirectory
from tests.unit.delivery.rooms import BOB, SLOW


async def pair(
    broker: MemoryBroker, directory: SmallDirectory, body: Callable[[Device], Awaitable[None]]
) -> None:
    """Run ``body`` with alice's device while bob's prekeys are there and bob is not."""
    async with asyncio.timeout(90):
        async with device("bob", broker, directory) as bob:
            await prekeys_ready(directory, bob)
        async with device("alice", broker, directory, pace=SLOW) as alice:
            await body(alice)


async def planned(alice: Device, backlog: int) -> None:
    while (await alice.context.store.backlog(DeviceAddress("bob-1"))).envelopes < backlog:
        alice.running.check()
        await asyncio.sleep(0.05)


async def test_500_envelopes_lie_on_the_broker_and_the_next_one_waits() -> None:
    async def body(alice: Device) -> None:
        for number in range(MAX_UNRECEIPTED_ENVELOPES + 1):
            await alice.send(BOB, str(number))
        await planned(alice, MAX_UNRECEIPTED_ENVELOPES)
        await asyncio.sleep(0.3)
        store = alice.context.store
        backlog = await store.backlog(DeviceAddress("bob-1"))
        assert backlog.envelopes == MAX_UNRECEIPTED_ENVELOPES
        assert [one.text for one in await store.queued(BOB, 9)] == ["500"]

    await pair(MemoryBroker(directory := SmallDirectory()), directory, body)


async def test_8_mib_lie_on_the_broker_and_not_one_envelope_more() -> None:
    async def body(alice: Device) -> None:
        for _ in range(130):
            await alice.send(BOB, "x" * 60_000)
        store, size = alice.context.store, 0
        while not size or size != (await store.backlog(DeviceAddress("bob-1"))).size:
            alice.running.check()
            size = (await store.backlog(DeviceAddress("bob-1"))).size
            await asyncio.sleep(0.6)
        one = size // (await store.backlog(DeviceAddress("bob-1"))).envelopes
        assert MAX_UNRECEIPTED_BYTES - 2 * one < size <= MAX_UNRECEIPTED_BYTES
        assert await store.queued(BOB, 1) != []

    directory = SmallDirectory()
    await pair(MemoryBroker(directory), directory, body)


async def test_an_unknown_recipient_fails_with_an_event() -> None:
    async def body(alice: Device) -> None:
        message_id = await alice.send(UserName("nobody"), "hello")
        await alice.reaches(message_id, MessageState.FAILED)
        event = await anext(alice.context.events.take())
        assert event == Failed(message_id, UserName("nobody"), "not_contact")

    directory = SmallDirectory()
    await pair(MemoryBroker(directory), directory, body)


async def test_an_expired_message_is_taken_back_from_the_broker() -> None:
    broker = MemoryBroker(directory := SmallDirectory())

    async def body(alice: Device) -> None:
        message_id = await alice.send(BOB, "short-lived", expires_at=now_ms() + 500)
        await alice.reaches(message_id, MessageState.PUBLISHED)
        assert any("/in/" in topic for topic in broker.retained)
        await asyncio.sleep(0.6)
        await alice.running.engine._upkeep._expire()
        assert await alice.state_of(message_id) is MessageState.EXPIRED
        assert await alice.context.store.envelopes_of(message_id) == []
        while any("/in/" in topic for topic in broker.retained):  # noqa: ASYNC110 - a test may look
            await asyncio.sleep(0.02)

    await pair(broker, directory, body)
