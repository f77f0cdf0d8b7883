"""What one open device does about mail that does not open, and about requests for its own."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from client_sdk import entropy
from client_sdk.delivery.clock import now_ms
from client_sdk.machine.changes import Changes, UserRevision
from client_sdk.machine.control import FreshContent
from client_sdk.machine.events import CloneSuspected, SessionDamaged, SessionRenewed
from client_sdk.machine.healing import plan_request
from client_sdk.machine.pace import MAX_ANSWERS, MAX_REQUESTS
from client_sdk.machine.prekeys import upload
from client_sdk.machine.rows import Candidate, MessageState, OutboxEnvelope, PaceKind, ReceiptDue
from client_sdk.machine.sending import FreshEnvelope, fresh_keys_wanted
from client_sdk.stores.healing_rows import MAX_CANDIDATES
from client_sdk.wire import topics
from client_sdk.wire.codec import encode
from client_sdk.wire.directory import Action, Relation
from client_sdk.wire.envelope import ENVELOPE, RATCHET_HEADER, EnvelopeKind
from client_sdk.wire.ids import DeviceAddress, EnvelopeId, MessageId
from tests.unit.delivery.rooms import ALICE, BOB, Room
from tests.unit.machine.machine_parties import Party


class HealingRoom(Room):
    """Bob's whole device, and contacts by hand to whom he can write too."""

    def contact(self, name: str) -> Party:
        """Return a contact whom the directory has bundles of."""
        party = self.writer(name)
        rows = [one._replace(created_at=now_ms()) for one in party.make_prekeys()]
        batch = upload(party.own.signing, party.address, rows)
        published = self.directory.devices[party.address]
        published.signed, published.last_resort = batch.signed_prekey, batch.last_resort
        published.one_time += batch.one_time_prekeys
        published.kem += batch.kem_prekeys
        return party

    def mail_to(self, party: Party) -> list[OutboxEnvelope]:
        return [
            OutboxEnvelope(
                topics.parse_inbox(topic).envelope_id, party.address, party.user, None, payload, 0
            )
            for topic, payload in self.published_to(party.address)
        ]

    async def mail(self, party: Party, count: int) -> list[OutboxEnvelope]:
        """Wait until bob has published this much to a contact."""
        await self.until(lambda: len(self.mail_to(party)) >= count)
        found = self.mail_to(party)
        assert len(found) == count
        return found

    async def talk(self, party: Party) -> int:
        """Let bob and a contact use a session both ways; return how much bob has published."""
        self.post(party, self.envelope(party, "hello"))
        (receipt,) = await self.mail(party, 1)
        party.receive(self.bob.context.own.address, receipt)
        return 1

    def ask(self, party: Party, envelope: OutboxEnvelope, digest: bytes | None = None) -> str:
        """Request an envelope of bob's as ``party``; return the topic of the request."""
        state, bob = party.states[BOB], self.bob.context.own.address
        wanted = digest or hashlib.sha256(envelope.payload).digest()[:8]
        row = Candidate(bob, envelope.envelope_id, wanted, bytes(8), now_ms())
        keys = entropy.draw_keys(fresh_keys_wanted(state, bob))
        fresh = FreshContent(
            entropy.draw_message_id(), FreshEnvelope(EnvelopeId(entropy.draw_id()), keys)
        )
        party.states[BOB], changes = plan_request(party.own, state, [row], fresh, now_ms())
        return self.post(party, changes.envelopes[0])

    async def settled(self) -> None:
        """Return when bob has decided all his mail and answered every request."""
        await self.until(lambda: self.waiting() == [])
        store = self.bob.context.store
        while await store.resends_due(1) or await store.due_envelopes(now_ms(), 1):
            self.bob.running.check()
            await asyncio.sleep(0.02)


@pytest.fixture
async def room() -> AsyncIterator[HealingRoom]:
    async with HealingRoom.opened() as opened:
        yield opened


def with_tag(envelope: OutboxEnvelope, tag: bytes) -> OutboxEnvelope:
    parsed = ENVELOPE.decode(envelope.payload)
    header = RATCHET_HEADER.decode(parsed.header)._replace(session_tag=tag)
    return renamed(envelope, encode(parsed._replace(header=encode(header))))


def renamed(envelope: OutboxEnvelope, payload: bytes) -> OutboxEnvelope:
    return envelope._replace(envelope_id=EnvelopeId(entropy.draw_id()), payload=payload)


def flipped(envelope: OutboxEnvelope, at: int) -> OutboxEnvelope:
    parsed = ENVELOPE.decode(envelope.payload)
    ciphertext = bytearray(parsed.ciphertext)
    ciphertext[at] ^= 1
    return envelope._replace(payload=encode(parsed._replace(ciphertext=bytes(ciphertext))))


def other_ratchet_key(envelope: OutboxEnvelope) -> OutboxEnvelope:
    parsed = ENVELOPE.decode(envelope.payload)
    header = RATCHET_HEADER.decode(parsed.header)
    changed = header._replace(ratchet_key=entropy.draw_x25519().public)  # type: ignore[arg-type]
    return envelope._replace(payload=encode(parsed._replace(header=encode(changed))))


FORGERIES: dict[str, Callable[[OutboxEnvelope], OutboxEnvelope]] = {
    "first byte": lambda one: flipped(one, 0),
    "tag": lambda one: flipped(one, -1),
    "other place": lambda one: renamed(one, one.payload),
    "ratchet key": other_ratchet_key,
    "no envelope": lambda one: one._replace(payload=b"\x95" + one.payload[2:]),
}


async def test_a23_five_kinds_of_forgery_look_the_same_from_outside(room: HealingRoom) -> None:
    seen = set()
    for number, forge in enumerate(FORGERIES.values()):
        alice = room.contact(f"alice{number}")
        before = await room.talk(alice)
        sessions = (await room.bob.context.store.snapshot(alice.user)).sessions
        requests = len(room.directory.requests)
        topic = room.post(alice, forge(room.envelope(alice, "never seen")))
        await room.until(lambda topic=topic: topic not in room.broker.retained)  # type: ignore[misc]
        await room.settled()
        assert (await room.bob.context.store.snapshot(alice.user)).sessions == sessions
        history = await room.bob.context.store.history(alice.user, 9, None)
        seen.add(
            (
                len(room.mail_to(alice)) - before,
                len(room.directory.requests) - requests,
                len(await room.bob.context.store.candidates_to_ask(now_ms() + 1)),
                len(history),
            )
        )
    assert seen == {(0, 0, 0, 1)}


async def test_a23_five_kinds_of_lost_state_are_answered_the_same(room: HealingRoom) -> None:
    store, peers = room.bob.context.store, room.bob.context.peers
    seen = set()
    for kind in ("unknown session", "damaged row", "old handshake", "used number", "spent prekey"):
        alice = room.contact(kind.replace(" ", "_"))
        if kind not in {"spent prekey", "old handshake"}:
            await room.talk(alice)
        envelope = room.envelope(alice, "asked for again")
        before = len(room.mail_to(alice))
        if kind == "unknown session":
            envelope = with_tag(envelope, bytes(8))
        elif kind == "damaged row":
            await damage(room, alice)
        elif kind == "spent prekey":
            await store.commit(Changes(prekeys_spent=await all_one_time(room, envelope)))
        elif kind == "old handshake":
            room.post(alice, envelope)
            before = len(await room.mail(alice, 1))
            await damage(room, alice)
            envelope = room.envelope(alice, "asked for again")
        else:
            room.post(alice, envelope)
            await room.until(lambda a=alice: len(room.mail_to(a)) >= 2)  # type: ignore[misc]
            before = len(room.mail_to(alice))
            envelope = renamed(envelope, envelope.payload)
        topic = room.post(alice, envelope)
        request = (await room.mail(alice, before + 1))[-1]
        parsed = ENVELOPE.decode(request.payload)
        assert topic in room.broker.retained, "kept until it is settled"
        seen.add((parsed.kind, len(parsed.ciphertext)))
        changes, events = alice.receive(room.bob.context.own.address, request)
        assert events == (SessionRenewed(room.bob.context.own.address),)
        assert [one.envelope_id for one in changes.resends_due] == [envelope.envelope_id]
        assert (await peers.load(alice.user)).trusted
    assert seen == {(EnvelopeKind.PREKEY_MESSAGE, 256 + 16)}


async def damage(room: HealingRoom, party: Party) -> None:
    await replace_row(room, party, b"\x01\x00")


async def replace_row(room: HealingRoom, party: Party, record: bytes) -> None:
    await room.bob.context.store._execute(  # type: ignore[attr-defined]
        "UPDATE sessions SET record = ? WHERE device = ?", (record, party.address)
    )
    await room.bob.context.store._execute(  # type: ignore[attr-defined]
        "UPDATE peers SET revision = revision + 1 WHERE user = ?", (party.user,)
    )


async def all_one_time(room: HealingRoom, envelope: OutboxEnvelope) -> Any:
    from client_sdk.core.session import handshake_of
    from client_sdk.machine.opening import prekeys_named

    header = handshake_of(ENVELOPE.decode(envelope.payload))
    assert header is not None
    return tuple(await room.bob.context.store.load_prekeys(prekeys_named(header.handshake)))


async def test_the_app_is_told_of_a_copy_and_of_a_damaged_row(room: HealingRoom) -> None:
    alice, events = room.contact("alice"), room.bob.context.events.take()
    await room.talk(alice)
    envelope = room.envelope(alice, "twice in one place")
    room.post(alice, envelope)
    await room.until(lambda: room.waiting() == [])
    room.post(alice, renamed(envelope, envelope.payload))
    assert await anext(events) == CloneSuspected(alice.address)
    assert await anext(events) == SessionRenewed(alice.address)
    await damage(room, alice)
    await room.bob.context.peers.load(ALICE)
    assert await anext(events) == SessionDamaged(alice.address)


async def test_a_number_that_was_given_up_is_no_copy(room: HealingRoom) -> None:
    alice, store = room.contact("alice"), room.bob.context.store
    await room.talk(alice)
    envelope = room.envelope(alice, "its key was given up")
    room.post(alice, envelope)
    await room.until(lambda: room.waiting() == [])
    await store._execute("DELETE FROM opened", ())  # type: ignore[attr-defined]
    room.post(alice, renamed(envelope, envelope.payload))
    events = room.bob.context.events.take()
    assert await anext(events) == SessionRenewed(alice.address)


async def test_a_changed_copy_of_an_opened_envelope_is_a_forgery(room: HealingRoom) -> None:
    alice = room.contact("alice")
    await room.talk(alice)
    envelope = room.envelope(alice, "opened")
    room.post(alice, envelope)
    await room.until(lambda: room.waiting() == [])
    room.post(alice, flipped(envelope, 0))
    await room.settled()
    assert await room.bob.context.store.candidates_to_ask(now_ms() + 1) == []


async def test_requests_to_a_device_end_after_five_and_one_session(room: HealingRoom) -> None:
    alice, store = room.contact("alice"), room.bob.context.store
    before = await room.talk(alice)
    for number in range(MAX_REQUESTS + 3):
        room.post(alice, with_tag(room.envelope(alice, "forged"), number.to_bytes(8)))
        while len(await store.candidates_seen(now_ms() + 1, 99)) <= number:
            room.bob.running.check()
            await asyncio.sleep(0.02)
        await room.bob.running.engine._healing._ask_all()
    await room.until(lambda: len(room.mail_to(alice)) - before == MAX_REQUESTS)
    bundles = [one for one in room.directory.requests if one.action == Action.FETCH_BUNDLE]
    assert len(bundles) == 1
    pace = await store.pace(alice.address, PaceKind.ASK)
    assert pace is not None
    assert (pace.requests, pace.sessions) == (MAX_REQUESTS, 1)


async def secret(
    room: HealingRoom, alice: Party, **fields: int
) -> tuple[MessageId, OutboxEnvelope]:
    """Let bob send alice a message that she does not receipt."""
    before = len(room.mail_to(alice))
    message_id = await room.bob.send(ALICE, "for alice alone", **fields)
    return message_id, (await room.mail(alice, before + 1))[-1]


async def opened_by(room: HealingRoom, party: Party, after: int) -> list[str | None]:
    """Return the texts that a contact can read in bob's later envelopes."""
    for one in room.mail_to(party)[after:]:
        party.receive(room.bob.context.own.address, one)
    return [one.text for one in party.messages.values() if not one.outgoing]


async def test_who_lost_a_message_gets_it_again_and_is_told_that_it_is_settled(
    room: HealingRoom,
) -> None:
    alice = room.contact("alice")
    before = await room.talk(alice)
    _, envelope = await secret(room, alice)
    room.ask(alice, envelope)
    await room.mail(alice, before + 3)  # the first, the one sealed again, the answer
    assert await opened_by(room, alice, before + 1) == ["for alice alone"]
    await room.settled()


@pytest.mark.parametrize(
    "trick", ["another contact", "another digest", "unknown envelope", "receipted", "expired"]
)
async def test_nobody_obtains_a_message_by_asking_for_it(room: HealingRoom, trick: str) -> None:
    alice, carol = room.contact("alice"), room.contact("carol")
    before = await room.talk(alice)
    at_carol = await room.talk(carol)
    expires = {"expires_at": now_ms() + 500} if trick == "expired" else {}
    message_id, envelope = await secret(room, alice, **expires)
    asking, digest, seen = alice, None, before + 1
    if trick == "another contact":
        asking, seen = carol, at_carol
    elif trick == "another digest":
        digest = b"12345678"
    elif trick == "unknown envelope":
        envelope = envelope._replace(envelope_id=EnvelopeId(entropy.draw_id()))
    elif trick == "receipted":
        room.post(alice, alice.receipt(room.bob, [ReceiptDue(BOB, message_id, False, 0)]))  # type: ignore[arg-type]
        await room.bob.reaches(message_id, MessageState.DELIVERED)
    else:
        await room.until(lambda: now_ms() > expires["expires_at"])
    room.ask(asking, envelope, digest)
    await room.mail(asking, seen + 1)  # the answer alone
    assert await opened_by(room, asking, seen) == []
    await room.settled()
    assert len(room.mail_to(asking)) == seen + 1


async def test_a_request_that_the_broker_changed_or_repeats_brings_nothing(
    room: HealingRoom,
) -> None:
    alice = room.contact("alice")
    before = await room.talk(alice)
    _, envelope = await secret(room, alice)
    topic = room.ask(alice, envelope)
    payload = room.broker.retained[topic]
    await room.mail(alice, before + 3)
    for repeated in (payload, payload[:-1] + bytes([payload[-1] ^ 1])):
        room.broker.publish(topic, repeated, retain=True)
        await room.settled()
    assert len(room.mail_to(alice)) == before + 3


async def test_a_device_that_asks_without_end_is_answered_ten_times(room: HealingRoom) -> None:
    alice = room.contact("alice")
    before = await room.talk(alice)
    unknown = room.envelope(alice, "no envelope of bob's")
    for number in range(MAX_ANSWERS + 2):
        room.ask(alice, unknown)
        await room.settled()
        answers = len(room.mail_to(alice)) - before
        assert answers == min(number + 1, MAX_ANSWERS)


async def test_at_most_five_hundred_envelopes_of_a_device_are_kept_in_mind(
    room: HealingRoom,
) -> None:
    store, sender = room.bob.context.store, DeviceAddress("mallory-1")
    rows = [
        Candidate(sender, EnvelopeId(f"{number:026}"), bytes(8), bytes(8), number, now_ms())
        for number in range(MAX_CANDIDATES + 1)
    ]
    await store.commit(Changes(candidates=tuple(rows[:-1])))
    assert len(await store.candidates_seen(now_ms(), 999)) == MAX_CANDIDATES
    await store.commit(Changes(candidates=tuple(rows[-1:])))
    kept = await store.candidates_seen(now_ms(), 999)
    assert sorted(one.seen_at for one in kept) == list(range(1, MAX_CANDIDATES + 1))


async def test_rows_of_two_devices_that_changed_places_are_damaged_and_mix_nothing_up(
    room: HealingRoom,
) -> None:
    alice, carol = room.contact("alice"), room.contact("carol")
    for party in (alice, carol):
        await room.talk(party)
    first, second = [
        (await room.bob.context.store.snapshot(party.user)).sessions[0].record
        for party in (alice, carol)
    ]
    events = room.bob.context.events.take()
    for party, record in ((alice, second), (carol, first)):
        await replace_row(room, party, record)
    for party in (alice, carol):
        state = await room.bob.context.peers.load(party.user)
        assert await anext(events) == SessionDamaged(party.address)
        assert state.sessions[party.address].current is None
    room.post(alice, room.envelope(alice, "of alice"))
    request = (await room.mail(alice, 2))[-1]
    alice.receive(room.bob.context.own.address, request)


@pytest.mark.parametrize("why", ["not accepted", "blocked", "another identity", "another list"])
async def test_who_may_not_be_written_to_gets_no_answer_to_a_request(
    room: HealingRoom, why: str
) -> None:
    alice, store = room.contact("alice"), room.bob.context.store
    await room.talk(alice)
    await room.bob.send(alice.user, "for alice alone")
    mail = await room.mail(alice, 2)
    stop = {
        "not accepted": {"relation": Relation.STRANGER, "accepted": False},
        "blocked": {"blocked": True},
        "another identity": {"offered_list": b"another"},
        "another list": {"equivocation": True},
    }[why]
    before = await store.snapshot(alice.user)
    moved = (UserRevision(alice.user, before.revision),)
    await store.commit(Changes(based_on=moved, peers=(before.peer._replace(**stop),)))
    topic = room.ask(alice, mail[-1])
    await room.until(lambda: topic not in room.broker.retained)
    await room.settled()
    assert len(room.mail_to(alice)) == 2
