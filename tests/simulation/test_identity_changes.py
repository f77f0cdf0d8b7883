"""A contact whose devices are replaced, by recovery or with a new account key."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from client_sdk.delivery.identity import show_identity, trust_user, verify_user
from client_sdk.delivery.pace import Pace
from client_sdk.machine.device import DeviceRecord, load_device
from client_sdk.machine.errors import NotComparedError
from client_sdk.machine.events import Event, Failed, Gap, IdentityChanged
from client_sdk.machine.identity import Identity, identity_of
from client_sdk.machine.rows import MessageState
from client_sdk.wire import topics
from client_sdk.wire.directory import SignedRequest
from client_sdk.wire.ids import DeviceAddress, MessageId, UserName
from tests.simulation.devices import Device, device, prekeys_ready
from tests.simulation.memory_broker import MemoryBroker
from tests.simulation.small_directory import SmallDirectory
from tests.unit.machine.machine_parties import Party, make_record
from tests.unit.machine.test_identity import back, recovered

ALICE, BOB = UserName("alice"), UserName("bob")
BOB_1, BOB_2 = DeviceAddress("bob-1"), DeviceAddress("bob-2")
PATIENT = Pace(resend_seconds=(600.0,), resync_seconds=(600.0,), list_check_seconds=(0.5,))
"""Nothing comes a second time by itself: neither a repeat nor a resync."""


@dataclass
class World:
    """One broker and directory, with alice on them."""

    broker: MemoryBroker
    directory: SmallDirectory
    alice: Device

    @asynccontextmanager
    async def bob(self, record: DeviceRecord) -> AsyncIterator[Device]:
        async with device("bob", self.broker, self.directory, pace=PATIENT, record=record) as bob:
            await prekeys_ready(self.directory, bob)
            yield bob

    async def identity(self) -> Identity:
        return identity_of((await self.alice.context.peers.load(BOB)).peer)

    async def until_identity(self, identity: Identity) -> None:
        async def holds() -> bool:
            return await self.identity() is identity

        while not await holds():
            self.alice.running.check()
            await asyncio.sleep(0.02)

    def to(self, address: DeviceAddress) -> list[str]:
        prefix = topics.inbox_prefix(address)
        return [topic for topic, payload in self.broker.published if payload and prefix in topic]

    def asked_by_alice(self) -> list[SignedRequest]:
        address = self.alice.context.own.address
        return [one for one in self.directory.requests if one.device == address]

    def events(self) -> list[Event]:
        """Return what alice was told and did not take yet."""
        return list(self.alice.context.events._events)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    directory = SmallDirectory()
    broker = MemoryBroker(directory)
    async with (
        asyncio.timeout(100),
        device("alice", broker, directory, pace=PATIENT) as alice,
    ):
        await prekeys_ready(directory, alice)
        yield World(broker, directory, alice)


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - the broker of this process rings no bell
        await asyncio.sleep(0.02)


async def spoken(world: World, record: DeviceRecord) -> None:
    """Let alice and bob have exchanged a message each, and end bob's device."""
    async with world.bob(record) as bob:
        await world.alice.reaches(await world.alice.send(BOB, "first"), MessageState.DELIVERED)
        await bob.reaches(await bob.send(ALICE, "an answer"), MessageState.DELIVERED)
        await world.alice.take(1)


async def test_what_a_lost_device_missed_goes_to_the_recovered_one_in_order(world: World) -> None:
    record = make_record("bob")
    await spoken(world, record)
    missed = [await world.alice.send(BOB, f"missed {number}") for number in range(5)]
    for one in missed:
        await world.alice.reaches(one, MessageState.PUBLISHED)
    again = recovered(_party(record)).own.record
    async with world.bob(again) as bob:
        expected = [f"missed {number}" for number in range(5)]
        assert await bob.take(5) == expected
        for one in missed:
            await world.alice.reaches(one, MessageState.DELIVERED)
        await world.alice.reaches(await world.alice.send(BOB, "and on"), MessageState.DELIVERED)
        assert await bob.take(6) == [*expected, "and on"]
        assert not [one for one in bob.context.events._events if isinstance(one, Gap)]
        await bob.reaches(await bob.send(ALICE, "back again"), MessageState.DELIVERED)
    assert await world.alice.take(2) == ["an answer", "back again"]
    waiting = topics.inbox_prefix(BOB_1)
    await until(lambda: not [one for one in world.broker.retained if one.startswith(waiting)])
    assert not [one for one in world.events() if isinstance(one, IdentityChanged | Failed)]


async def test_a_verified_contact_stays_verified_through_a_recovery(world: World) -> None:
    record = make_record("bob")
    await spoken(world, record)
    await verify_user(world.alice.context, BOB)
    async with world.bob(recovered(_party(record)).own.record) as bob:
        await world.alice.reaches(await world.alice.send(BOB, "hello"), MessageState.DELIVERED)
        assert await bob.take(1) == ["hello"]
    assert await world.identity() is Identity.VERIFIED


async def test_nothing_goes_to_a_verified_contact_with_another_key_before_trust(
    world: World,
) -> None:
    await spoken(world, make_record("bob"))
    await verify_user(world.alice.context, BOB)
    sealed = await world.alice.send(BOB, "sealed for the old key")
    await world.alice.reaches(sealed, MessageState.PUBLISHED)
    async with world.bob(back("bob", 2).own.record) as bob:
        await world.alice.reaches(sealed, MessageState.FAILED)
        await world.until_identity(Identity.CHANGED)
        asked = len(world.asked_by_alice())
        mail = await bob.send(ALICE, "from the new key")
        queued = await world.alice.send(BOB, "after trust")
        await bob.reaches(mail, MessageState.PUBLISHED)
        await until(lambda: len(world.asked_by_alice()) > asked)  # who is this new device?
        assert await world.alice.state_of(queued) is MessageState.QUEUED
        assert world.to(BOB_2) == []
        assert await world.alice.context.store.ready(9) == []
        told = [one for one in world.events() if isinstance(one, IdentityChanged)]
        assert told == [IdentityChanged(BOB, held=True)]

        await trust_user(world.alice.context, BOB)
        await world.alice.reaches(queued, MessageState.DELIVERED)
        assert await bob.take(1) == ["after trust"]
        assert await world.alice.take(2) == ["an answer", "from the new key"]
        await bob.reaches(mail, MessageState.DELIVERED)
        assert await world.alice.state_of(sealed) is MessageState.FAILED
    assert await world.identity() is Identity.UNVERIFIED


async def test_verifying_the_new_number_lets_messages_flow_and_the_old_one_does_not(
    world: World,
) -> None:
    await spoken(world, make_record("bob"))
    await show_identity(world.alice.context, BOB)
    await verify_user(world.alice.context, BOB)
    async with world.bob(back("bob", 2).own.record) as bob:
        await bob.send(ALICE, "hello")
        await world.until_identity(Identity.CHANGED)
        with pytest.raises(NotComparedError):
            await verify_user(world.alice.context, BOB)
        assert await world.identity() is Identity.CHANGED
        await show_identity(world.alice.context, BOB)
        await verify_user(world.alice.context, BOB)
        assert await world.alice.take(2) == ["an answer", "hello"]
        await world.alice.reaches(await world.alice.send(BOB, "you"), MessageState.DELIVERED)
    assert await world.identity() is Identity.VERIFIED


async def test_an_unverified_contact_s_new_key_is_told_and_used(world: World) -> None:
    await spoken(world, make_record("bob"))
    sealed = await world.alice.send(BOB, "sealed for the old key")
    await world.alice.reaches(sealed, MessageState.PUBLISHED)
    async with world.bob(back("bob", 2).own.record) as bob:
        await world.alice.reaches(sealed, MessageState.FAILED)
        await world.alice.reaches(await world.alice.send(BOB, "new"), MessageState.DELIVERED)
        assert await bob.take(1) == ["new"]
    kinds = (IdentityChanged, Failed)
    assert [one for one in world.events() if isinstance(one, kinds)] == [
        IdentityChanged(BOB),
        Failed(sealed, BOB, "identity_changed"),
    ]


async def test_a_directory_that_gives_the_earlier_key_again_is_not_believed(world: World) -> None:
    record = make_record("bob")
    await spoken(world, record)
    async with world.bob(back("bob", 2).own.record) as bob:
        await bob.reaches(await bob.send(ALICE, "new key"), MessageState.DELIVERED)
        current = await world.alice.context.peers.load(BOB)
        world.directory.newest[BOB] = record.device_list
        asked = len(world.directory.requests)
        sent: MessageId = await world.alice.send(BOB, "to whom?")
        await world.alice.reaches(sent, MessageState.DELIVERED)
        world.alice.context.outbox_bell.ring()
        with pytest.raises(Exception, match="replaced before"):
            await world.alice.context.peers.refresh(BOB)
        assert len(world.directory.requests) > asked
        after = await world.alice.context.peers.load(BOB)
        assert after.device_list == current.device_list
        assert after.peer.account_key == current.peer.account_key
    assert await world.identity() is Identity.UNVERIFIED


async def test_a_contact_who_lost_a_device_before_the_first_message_is_reached(
    world: World,
) -> None:
    record = make_record("bob")
    async with world.bob(record):
        await world.alice.context.peers.refresh(BOB)
    async with world.bob(recovered(_party(record)).own.record) as bob:
        await world.alice.reaches(await world.alice.send(BOB, "hello"), MessageState.DELIVERED)
        assert await bob.take(1) == ["hello"]


def _party(record: DeviceRecord) -> Party:
    return Party(load_device(record))
