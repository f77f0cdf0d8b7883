"""One whole device that writes to a user whose devices come and go."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from client_sdk.delivery import late as late_module
from client_sdk.delivery.clock import now_ms
from client_sdk.delivery.consent import accept_user
from client_sdk.machine.devices import adopt_device_list
from client_sdk.machine.errors import EquivocationError
from client_sdk.machine.events import DeviceListChanged, Equivocation, Event
from client_sdk.machine.rows import MessageState, OutboxEnvelope
from client_sdk.wire import topics
from client_sdk.wire.bundle import DeviceList
from client_sdk.wire.directory import Action
from client_sdk.wire.ids import DeviceAddress
from tests.unit.delivery.rooms import ALICE, BOB, Room
from tests.unit.machine import machine_parties
from tests.unit.machine.household import list_of, more_devices, reply, take_list, without
from tests.unit.machine.machine_parties import Party


class Street(Room):
    """Bob's whole device, and all devices of alice by hand."""

    def publish(self, device_list: DeviceList) -> None:
        """Let the directory give this list of alice's from now on."""
        self.directory.newest[ALICE] = device_list
        for address, published in self.directory.devices.items():
            if address.startswith("alice-"):
                published.device_list = device_list

    def settle(self, party: Party) -> None:
        """Register one of alice's devices, which knows bob, with its prekeys."""
        bobs = self.directory.devices[self.bob.context.own.address].device_list
        party.states[BOB], _ = adopt_device_list(party.state(BOB), reply(bobs))
        self.directory.register(party.own)
        published, bundle = self.directory.devices[party.address], party.bundle(one_time=False)
        published.signed, published.last_resort = bundle.signed_prekey, bundle.kem_prekey

    def mail_for(self, party: Party) -> list[OutboxEnvelope]:
        prefix = topics.inbox_prefix(party.address)
        return [
            OutboxEnvelope(
                topics.parse_inbox(topic).envelope_id, party.address, ALICE, None, payload, 0
            )
            for topic, payload in self.broker.retained.items()
            if topic.startswith(prefix)
        ]

    def read(self, party: Party) -> list[str | None]:
        """Let a device open what waits for it; return all that it has read so far."""
        for one in self.mail_for(party):
            party.receive(DeviceAddress("bob-1"), one)
        return party.handed_over

    async def told(self, event: type[Event]) -> Event:
        async for one in self.bob.context.events.take():
            if isinstance(one, event):
                return one
        raise AssertionError


@pytest.fixture
async def street(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Street]:
    monkeypatch.setattr(machine_parties, "NOW", now_ms())
    monkeypatch.setattr(late_module, "NEW_DEVICE_SECONDS", (0.05,) * 200)
    async with Street.opened() as opened:
        yield opened


async def test_a_message_reaches_every_device_also_one_that_has_no_prekeys_yet(
    street: Street,
) -> None:
    one, two = more_devices(street.writer("alice"), 1)
    street.settle(one)
    street.directory.register(two.own)
    street.directory.unready.add(two.address)
    await street.bob.send(ALICE, "hello")
    await street.until(lambda: street.read(one) == ["hello"])
    await street.bob.send(ALICE, "again")
    await street.until(lambda: street.read(one) == ["hello", "again"])
    assert street.mail_for(two) == []
    street.settle(two)
    street.directory.unready.clear()
    await street.until(lambda: street.read(two) == ["hello", "again"])
    await street.bob.send(ALICE, "directly")
    await street.until(lambda: street.read(two)[2:] == ["directly"])


async def test_a_device_that_joined_unknown_to_the_sender_gets_what_was_sent_meanwhile(
    street: Street,
) -> None:
    one = street.writer("alice")
    street.settle(one)
    await street.bob.send(ALICE, "first")
    await street.until(lambda: street.read(one) == ["first"])
    _, two = more_devices(one, 1)
    listed = list_of(one)
    street.settle(two)
    street.publish(listed)
    await street.bob.send(ALICE, "second")
    await street.until(lambda: street.read(one) == ["first", "second"])
    assert street.mail_for(two) == []
    due = one.receipts_due[-1:]
    street.post(one, _receipt(one, due))
    changed = await street.told(DeviceListChanged)
    assert changed == DeviceListChanged(ALICE, 2, (two.address,), ())
    await street.bob.send(ALICE, "third")
    await street.until(lambda: street.read(two)[-2:] == ["second", "third"])


def _receipt(party: Party, due: list[machine_parties.ReceiptDue]) -> OutboxEnvelope:
    return party.receipt(_Bob(), due)  # type: ignore[arg-type]


class _Bob:
    user = BOB


async def test_a30_another_list_of_the_same_version_stops_sending_until_the_app_decides(
    street: Street,
) -> None:
    one = street.writer("alice")
    oldest = list_of(one)
    street.settle(one)
    await street.bob.send(ALICE, "before")
    await street.until(lambda: street.read(one) == ["before"])
    more_devices(one, 1)
    first = list_of(one)
    take_list(one, oldest)
    more_devices(one, 1)
    street.publish(first)  # bob is shown one list, alice knows another of that version
    street.post(one, street.envelope(one, "look at my list"))
    await street.bob.take(1)
    await street.told(DeviceListChanged)
    street.post(one, street.envelope(one, "and again"))
    assert await street.told(Equivocation) == Equivocation(ALICE)
    held = await street.bob.send(ALICE, "held")
    asked = len(street.directory.requests)
    street.post(one, street.envelope(one, "third"))
    await street.bob.take(3)
    assert await street.bob.state_of(held) is MessageState.QUEUED
    assert len([r for r in street.directory.requests[asked:] if r.action == 3]) == 0
    await accept_user(street.bob.context, ALICE)
    street.bob.running.engine._outbox.retry_now()
    street.bob.context.outbox_bell.ring()
    await street.until(lambda: "held" in street.read(one))


async def test_a_device_that_left_gets_nothing_more_and_its_topics_are_cleared(
    street: Street,
) -> None:
    one, two = more_devices(street.writer("alice"), 1)
    street.settle(one)
    street.settle(two)
    await street.bob.send(ALICE, "to both")
    await street.until(lambda: bool(street.mail_for(one) and street.mail_for(two)))
    take_list(one, without(one, 2))
    street.publish(list_of(one))
    await street.bob.context.peers.refresh(ALICE)
    await street.until(lambda: street.mail_for(two) == [])
    assert street.read(one) == ["to both"]
    await street.bob.send(ALICE, "to one")
    await street.until(lambda: street.read(one) == ["to both", "to one"])
    assert street.mail_for(two) == []


async def test_a26_a_false_list_sends_nothing_and_changes_nothing(street: Street) -> None:
    one = street.writer("alice")
    street.settle(one)
    await street.bob.context.peers.refresh(ALICE)
    known = await street.bob.context.peers.load(ALICE)
    street.publish(list_of(one)._replace(version=2, next_number=9))  # alice has not signed it
    await street.bob.send(ALICE, "kept")
    await street.until(
        lambda: any(r.action == Action.FETCH_BUNDLE for r in street.directory.requests)
    )
    street.publish(list_of(one))
    await street.until(lambda: street.bob.running.engine.connected)
    after = await street.bob.context.peers.load(ALICE)
    assert replace(after, revision=known.revision) == known
    assert [topic for topic in street.broker.retained if "/in/bob-1/" in topic] == []


async def test_a_message_whose_time_is_over_is_not_sent_to_a_device_that_comes_late(
    street: Street,
) -> None:
    one, two = more_devices(street.writer("alice"), 1)
    street.settle(one)
    street.settle(two)
    street.directory.unready.add(two.address)
    soon = now_ms() + 1500
    await street.bob.send(ALICE, "short-lived", expires_at=soon)
    await street.bob.send(ALICE, "long-lived")
    await street.until(lambda: len(street.mail_for(one)) == 2)
    await street.until(lambda: now_ms() > soon)
    street.directory.unready.clear()
    await street.until(lambda: bool(street.mail_for(two)))
    assert street.read(two) == ["long-lived"]


def own_lists(street: Street) -> tuple[DeviceList, DeviceList]:
    """Return two lists that bob's account key signed one after the other, of this one device."""
    bob = Party(street.bob.context.own)
    more_devices(bob, 1)
    return list_of(bob), without(bob, 2)


async def follow(street: Street, *lists: DeviceList) -> None:
    for one in lists:
        street.directory.newest[BOB] = one
        await street.bob.context.peers.refresh(BOB)


async def test_a30_another_list_of_ones_own_user_is_told_once_under_ones_own_name(
    street: Street,
) -> None:
    first, other = own_lists(street), own_lists(street)
    await follow(street, *first)
    for _ in range(2):
        with pytest.raises(EquivocationError):
            await follow(street, other[1])
    assert await street.told(Equivocation) == Equivocation(BOB)
    assert not any(isinstance(one, Equivocation) for one in street.bob.context.events._events)
    assert street.bob.context.own.record.device_list == first[1]


async def test_a30_a_contact_that_was_shown_another_list_of_ones_own_user_is_still_sent_to(
    street: Street,
) -> None:
    one = street.writer("alice")
    street.settle(one)
    first, other = own_lists(street), own_lists(street)
    await follow(street, *first)
    street.post(one, street.envelope(one, "before"))
    await street.bob.take(1)
    one.states[BOB] = replace(one.states[BOB], device_list=other[1])
    street.post(one, street.envelope(one, "look at your list"))
    assert await street.told(Equivocation) == Equivocation(BOB)
    street.post(one, street.envelope(one, "again"))
    await street.bob.take(3)
    await street.bob.send(ALICE, "still sent")
    await street.until(lambda: street.read(one) == ["still sent"])
    assert not any(isinstance(one, Equivocation) for one in street.bob.context.events._events)
