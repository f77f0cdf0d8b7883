"""A broker that drops, doubles, shuffles and replays: all is read once and in order (A46, R8)."""

import asyncio

import pytest

from client_sdk.machine.rows import MessageState
from client_sdk.wire.ids import UserName
from tests.simulation.devices import Device, device, prekeys_ready
from tests.simulation.memory_broker import Evil, MemoryBroker
from tests.simulation.small_directory import SmallDirectory

ALICE, BOB = UserName("alice"), UserName("bob")
MESSAGES = 200
EVIL = Evil(drop=0.3, duplicate=0.3, shuffle=True, replay=0.3)


async def chatter(sender: Device, to: UserName) -> list[str]:
    texts = [f"{sender.user} {number}" for number in range(MESSAGES)]
    for number, text in enumerate(texts):
        await sender.send(to, text)
        if number % 20 == 0:
            await asyncio.sleep(0.02)
    return texts


@pytest.mark.parametrize("seed", [1])
async def test_everything_arrives_once_and_in_order_over_an_evil_broker(seed: int) -> None:
    print(f"seed {seed}")
    directory = SmallDirectory()
    broker = MemoryBroker(directory, EVIL, seed)
    async with (
        asyncio.timeout(100),
        device("alice", broker, directory) as alice,
        device("bob", broker, directory) as bob,
    ):
        await prekeys_ready(directory, alice, bob)
        to_bob, to_alice, at_bob, at_alice = await asyncio.gather(
            chatter(alice, BOB), chatter(bob, ALICE), bob.take(MESSAGES), alice.take(MESSAGES)
        )
        assert at_bob == to_bob
        assert at_alice == to_alice
        for one, peer in ((alice, BOB), (bob, ALICE)):
            history = await one.context.store.history(peer, 999, None)
            received = [m.message.text for m in history if not m.message.outgoing]
            assert received == one.taken
            for stored in history:
                if stored.message.outgoing:
                    await one.reaches(stored.message.message_id, MessageState.DELIVERED)
        await asyncio.sleep(1)  # time for replays to do harm
        assert len(alice.taken) == len(bob.taken) == MESSAGES
        for one in (alice, bob):
            assert await one.context.store.ready(9) == []


async def test_a_broker_that_forgets_everything_and_hangs_up_loses_nothing() -> None:
    directory = SmallDirectory()
    broker = MemoryBroker(directory)
    async with (
        asyncio.timeout(100),
        device("alice", broker, directory) as alice,
        device("bob", broker, directory) as bob,
    ):
        await prekeys_ready(directory, alice, bob)
        sending = asyncio.create_task(chatter(alice, BOB))
        await bob.take(50)
        broker.retained.clear()
        broker.cut()
        texts = await sending
        assert await bob.take(MESSAGES) == texts
