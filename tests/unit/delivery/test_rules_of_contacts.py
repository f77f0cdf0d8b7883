"""Who is heard by one open device: strangers, blocked users, contacts that the policy withdrew."""

import asyncio
import time

import pytest

from client_sdk.delivery import upkeep as upkeep_module
from client_sdk.delivery.consent import accept_user, set_blocked
from client_sdk.delivery.contacts import withdraw
from client_sdk.machine.devices import is_withdrawn
from client_sdk.machine.events import ContactRequest
from client_sdk.machine.rows import MessageState
from client_sdk.wire.directory import Action, Relation
from client_sdk.wire.ids import UserName
from tests.unit.delivery.rooms import ALICE, Room


async def test_what_is_no_contact_is_cleared_without_a_receipt(room: Room) -> None:
    mallory = room.writer("mallory")
    room.directory.refused.add(UserName("mallory"))
    topic = room.post(mallory, room.envelope(mallory, "hello"))
    await room.until(lambda: topic not in room.broker.retained)
    again = room.post(mallory, room.envelope(mallory, "hello again"))
    await room.until(lambda: again not in room.broker.retained)
    assert room.published_to(mallory.address) == []
    asked = [one for one in room.directory.requests if one.action == 2]
    assert len([one for one in asked if b"mallory" in one.body]) == 1


async def test_a_blocked_user_is_dropped_without_a_receipt_until_unblocked(room: Room) -> None:
    alice = room.writer("alice")
    room.post(alice, room.envelope(alice, "before"))
    await room.bob.take(1)
    await room.until(lambda: len(room.published_to(alice.address)) == 1)
    await set_blocked(room.bob.context, ALICE, blocked=True)
    topic = room.post(alice, room.envelope(alice, "blocked"))
    await room.until(lambda: topic not in room.broker.retained)
    assert len(room.published_to(alice.address)) == 1
    await set_blocked(room.bob.context, ALICE, blocked=False)
    room.post(alice, room.envelope(alice, "after"))
    history = await room.bob.context.store.history(ALICE, 9, None)
    assert "blocked" not in [one.message.text for one in history]


async def test_a_stranger_waits_for_consent_and_gets_the_receipts_then(room: Room) -> None:
    room.directory.relation = Relation.STRANGER
    carol = room.writer("carol")
    envelopes = [room.envelope(carol, "one"), room.envelope(carol, "two")]
    second = room.post(carol, envelopes[1])
    await room.until(lambda: second not in room.broker.retained)
    first = room.post(carol, envelopes[0])
    await room.until(lambda: first not in room.broker.retained)
    events = room.bob.context.events.take()
    assert await anext(events) == ContactRequest(UserName("carol"))
    assert await room.bob.context.store.ready(9) == []
    assert room.published_to(carol.address) == []
    await accept_user(room.bob.context, UserName("carol"))
    assert await room.bob.take(2) == ["one", "two"]
    await room.until(lambda: len(room.published_to(carol.address)) == 1)


async def test_a_contact_that_the_policy_withdrew_is_dropped_and_no_longer_written_to(
    room: Room,
) -> None:
    bob, alice = room.bob, room.writer("alice")
    room.post(alice, room.envelope(alice, "before"))
    await bob.take(1)
    await room.until(lambda: len(room.published_to(alice.address)) == 1)
    upkeep = bob.running.engine._upkeep
    await upkeep.contacts_once()  # listed: nothing changes
    room.directory.refused.add(ALICE)
    await upkeep.contacts_once()  # still listed
    assert (await bob.context.peers.load(ALICE)).trusted
    room.directory.unlisted.add(ALICE)
    await upkeep.contacts_once()
    state = await bob.context.peers.load(ALICE)
    assert is_withdrawn(state)
    assert state.peer.account_key is not None
    topic = room.post(alice, room.envelope(alice, "after"))
    await room.until(lambda: topic not in room.broker.retained)
    message_id = await bob.send(ALICE, "answer")
    await bob.reaches(message_id, MessageState.FAILED)
    assert len(room.published_to(alice.address)) == 1
    history = await bob.context.store.history(ALICE, 9, None)
    assert [one.message.text for one in history] == ["before", "answer"]


async def test_a_contact_outside_the_list_that_the_directory_still_gives_stays(room: Room) -> None:
    alice = room.writer("alice")
    room.post(alice, room.envelope(alice, "before"))
    await room.bob.take(1)
    room.directory.unlisted.add(ALICE)
    await room.bob.running.engine._upkeep.contacts_once()
    assert (await room.bob.context.peers.load(ALICE)).trusted


async def test_a_withdrawn_contact_is_heard_again_once_the_policy_allows_it(room: Room) -> None:
    alice = room.writer("alice")
    room.post(alice, room.envelope(alice, "before"))
    await room.bob.take(1)
    published, bundle = room.directory.devices[alice.address], alice.bundle(one_time=False)
    published.signed, published.last_resort = bundle.signed_prekey, bundle.kem_prekey
    await withdraw(room.bob.context, ALICE)
    await withdraw(room.bob.context, ALICE)
    assert is_withdrawn(await room.bob.context.peers.load(ALICE))
    room.post(alice, room.envelope(alice, "after"))
    assert await room.bob.take(2) == ["before", "after"]
    assert (await room.bob.context.peers.load(ALICE)).trusted


async def test_contacts_are_fetched_again_after_an_hour_of_one_connection(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked() -> int:
        return len([one for one in room.directory.requests if one.action == Action.CONTACTS])

    await room.until(lambda: asked() == 1)
    upkeep = room.bob.running.engine._upkeep
    monkeypatch.setattr(upkeep_module, "ROUND_SECONDS", 0.05)
    for age, expected in ((upkeep_module.CONTACTS_SECONDS - 60, 1), (3600, 2)):
        upkeep._contacts_at = time.monotonic() - age
        rounds = asyncio.create_task(upkeep.expiry_loop())
        await asyncio.sleep(0.5)
        rounds.cancel()
        assert asked() == expected
