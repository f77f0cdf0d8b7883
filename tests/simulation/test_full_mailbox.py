"""A broker that takes only so much for one recipient: the rest waits at its sender, others flow."""

import asyncio
from collections.abc import AsyncIterator

from client_sdk.machine.events import Event, MailboxFull
from client_sdk.wire.ids import DeviceAddress, UserName
from tests.simulation.devices import device, prekeys_ready
from tests.simulation.memory_broker import MemoryBroker
from tests.simulation.small_directory import SmallDirectory

BOB, CAROL = UserName("bob"), UserName("carol")
QUOTA, MESSAGES = 10, 60


async def test_what_is_over_the_quota_arrives_later_once_and_in_order() -> None:
    directory = SmallDirectory()
    broker = MemoryBroker(directory)
    async with (
        asyncio.timeout(60),
        device("alice", broker, directory) as alice,
        device("bob", broker, directory) as bob,
        device("carol", broker, directory) as carol,
    ):
        await prekeys_ready(directory, alice, bob, carol)
        await alice.send(BOB, "first")
        await bob.take(1)
        full = next_full_mailbox(alice.context.events.take())
        telling = asyncio.create_task(full)
        broker.quota = 0
        texts = [f"number {number}" for number in range(MESSAGES)]
        for text in texts:
            await alice.send(BOB, text)
        assert await telling == MailboxFull(DeviceAddress("bob-1"), 0.2)
        await alice.send(CAROL, "to another")
        broker.quota = QUOTA
        assert await carol.take(1) == ["to another"]
        assert await bob.take(1 + MESSAGES) == ["first", *texts]


async def next_full_mailbox(events: AsyncIterator[Event]) -> MailboxFull:
    async for event in events:
        if isinstance(event, MailboxFull):
            return event
    raise AssertionError("the events ended")
