"""The rules of one open device, seen from its broker and its directory."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from client_sdk.core.chain import MAX_JUMP
from client_sdk.delivery import senders as senders_module
from client_sdk.delivery import upkeep as upkeep_module
from client_sdk.delivery.clock import now_ms
from client_sdk.delivery.consent import accept_user, set_blocked
from client_sdk.delivery.contacts import withdraw
from client_sdk.delivery.inbox import MAX_QUEUED_BYTES
from client_sdk.delivery.outbox import MAX_UNRECEIPTED_BYTES, MAX_UNRECEIPTED_ENVELOPES
from client_sdk.delivery.pace import Pace
from client_sdk.delivery.senders import SenderLookup
from client_sdk.machine import sending as sending_module
from client_sdk.machine.changes import Changes
from client_sdk.machine.devices import adopt_device_list, is_withdrawn
from client_sdk.machine.events import ContactRequest, Delivered, Failed, Gap, Read
from client_sdk.machine.opening import Arrived, handshake_wanted
from client_sdk.machine.rows import MessageState, OutboxEnvelope, ReceiptDue
from client_sdk.machine.streams import GAP_TIMEOUT_MS
from client_sdk.stores.errors import StorageFullError
from client_sdk.transport.ports import Incoming
from client_sdk.wire import topics
from client_sdk.wire.directory import Action, DeviceListReply, Relation, Status
from client_sdk.wire.envelope import Envelope
from client_sdk.wire.ids import DeviceAddress, EnvelopeId, MessageId, UserName
from client_sdk.wire.topics import InboxTopic
from tests.simulation.devices import Device, device, prekeys_ready
from tests.simulation.memory_broker import MemoryBroker
from tests.simulation.small_directory import SmallDirectory
from tests.unit.machine.machine_parties import Party, empty_state, make_party

ALICE, BOB = UserName("alice"), UserName("bob")
SLOW = Pace(resend_seconds=(60.0,), resync_seconds=(60.0,))


class Room:
    """Bob's whole device, and people who write to him by hand."""

    def __init__(self, broker: MemoryBroker, directory: SmallDirectory, bob: Device) -> None:
        self.broker, self.directory, self.bob = broker, directory, bob

    def writer(self, name: str) -> Party:
        party = make_party(name)
        party.now = now_ms()
        self.directory.register(party.own)
        published = self.directory.devices[self.bob.context.own.address]
        reply = DeviceListReply(published.device_list, Relation.CONTACT, "", "")
        party.states[BOB], _ = adopt_device_list(empty_state(BOB), reply)
        return party

    def envelope(self, party: Party, text: str) -> OutboxEnvelope:
        bob: Any = self.bob  # a Party names the recipient by its user alone
        if not party.states[BOB].sessions:
            party.begin(bob, self.directory.bundle(self.bob.context.own.address))
        return party.send(bob, text)

    def post(self, party: Party, envelope: OutboxEnvelope) -> str:
        topic = topics.inbox(envelope.recipient, party.address, envelope.envelope_id)
        self.broker.publish(topic, envelope.payload, retain=True)
        return topic

    def published_to(self, address: DeviceAddress) -> list[tuple[str, bytes]]:
        prefix = topics.inbox_prefix(address)
        return [one for one in self.broker.published if one[0].startswith(prefix) and one[1]]

    def waiting(self) -> list[str]:
        prefix = topics.inbox_prefix(self.bob.context.own.address)
        return [one for one in self.broker.retained if one.startswith(prefix)]

    async def until(self, true: Callable[[], bool]) -> None:
        while not true():
            self.bob.running.check()
            await asyncio.sleep(0.02)


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    directory = SmallDirectory()
    broker = MemoryBroker(directory)
    async with device("bob", broker, directory, pace=SLOW) as bob:
        await prekeys_ready(directory, bob)
        yield Room(broker, directory, bob)


async def test_mail_is_committed_then_cleared_then_receipted(room: Room) -> None:
    alice = room.writer("alice")
    topic = room.post(alice, room.envelope(alice, "hello"))
    assert await room.bob.take(1) == ["hello"]
    await room.until(lambda: topic not in room.broker.retained)
    await room.until(lambda: len(room.published_to(alice.address)) == 1)


async def test_the_first_receipt_comes_at_once_and_the_next_ones_together(room: Room) -> None:
    alice = room.writer("alice")
    room.post(alice, room.envelope(alice, "first"))
    await room.until(lambda: len(room.published_to(alice.address)) == 1)
    for number in range(20):
        room.post(alice, room.envelope(alice, str(number)))
    await room.bob.take(21)
    assert len(room.published_to(alice.address)) == 1
    await room.until(lambda: len(room.published_to(alice.address)) == 2)
    await asyncio.sleep(0.3)
    assert len(room.published_to(alice.address)) == 2


async def test_a_hundred_receipts_do_not_wait(room: Room) -> None:
    alice = room.writer("alice")
    room.post(alice, room.envelope(alice, "first"))
    await room.until(lambda: len(room.published_to(alice.address)) == 1)
    for one in [room.envelope(alice, str(number)) for number in range(100)]:
        room.post(alice, one)
    async with asyncio.timeout(10):
        await room.until(lambda: len(room.published_to(alice.address)) >= 2)


async def test_envelopes_in_any_order_of_one_batch_are_handed_over_in_order(room: Room) -> None:
    alice = room.writer("alice")
    envelopes = [room.envelope(alice, str(number)) for number in range(12)]
    for one in envelopes[::-1]:
        room.post(alice, one)
    assert await room.bob.take(12) == [str(number) for number in range(12)]
    history = await room.bob.context.store.history(ALICE, 99, None)
    assert [one.message.text for one in history] == [str(number) for number in range(12)]


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


async def test_mail_waits_on_the_broker_while_the_directory_is_away() -> None:
    directory = SmallDirectory()
    broker = MemoryBroker(directory)
    quick = Pace(resend_seconds=(60.0,), resync_seconds=(0.5,))
    async with asyncio.timeout(60), device("bob", broker, directory, pace=quick) as bob:
        await prekeys_ready(directory, bob)
        room = Room(broker, directory, bob)
        alice = room.writer("alice")
        directory.statuses += [(Status.UNAVAILABLE, b"")] * 2
        topic = room.post(alice, room.envelope(alice, "patience"))
        await room.until(lambda: len(directory.statuses) < 2)
        assert topic in broker.retained
        assert await bob.take(1) == ["patience"]
        await room.until(lambda: topic not in broker.retained)


async def test_at_most_64_senders_are_looked_up_at_a_time(room: Room) -> None:
    room.directory.silent = True
    writers = [
        room.writer(f"w{number}") for number in range(senders_module.MAX_PENDING_SENDERS + 1)
    ]
    # One handshake is enough: every writer is unknown before its keys are needed.
    envelope = room.envelope(writers[0], "hello")
    for one in writers:
        room.post(one, envelope)
    lookup = room.bob.running.engine._inbox._senders
    await room.until(lambda: len(lookup._pending) >= senders_module.MAX_PENDING_SENDERS)
    await asyncio.sleep(0.3)
    assert len(lookup._pending) == senders_module.MAX_PENDING_SENDERS
    assert len(room.broker.retained) == len(writers)


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


async def test_two_sessions_from_one_bundle_in_one_batch_do_not_spin(room: Room) -> None:
    alice = room.writer("alice")
    bob: Any = room.bob
    published = room.directory.devices[room.bob.context.own.address]
    await room.until(lambda: bool(published.one_time and published.kem))
    bundle = room.directory.bundle(room.bob.context.own.address)
    posts = []
    for number in range(2):
        alice.begin(bob, bundle)
        posts.append(alice.send(bob, f"session {number}"))
    arrived = alice.arrived(alice.address, posts[0])
    assert handshake_wanted(empty_state(ALICE), arrived) is not None
    for one in posts:
        room.post(alice, one)
    await room.until(lambda: len(room.waiting()) == 1)  # the other one is asked for again
    taken = await room.bob.take(1)
    assert taken == ["session 0"]
    room.post(alice, room.envelope(alice, "lost for this receiver: its session was refused"))
    carol = room.writer("carol")
    room.post(carol, room.envelope(carol, "others are not held up"))
    assert "others are not held up" in await room.bob.take(2)


async def test_a_gap_is_given_up_after_its_time_and_told(room: Room) -> None:
    alice = room.writer("alice")
    room.post(alice, room.envelope(alice, "one"))
    await room.bob.take(1)
    room.envelope(alice, "lost")
    room.post(alice, room.envelope(alice, "three"))
    store = room.bob.context.store
    while not (found := await store.gaps_since(now_ms())):  # noqa: ASYNC110 - a test may look
        await asyncio.sleep(0.02)
    assert await store.ready(9) == []
    late = f"UPDATE streams SET gap_since = gap_since - {GAP_TIMEOUT_MS}"
    await store._execute(late, ())  # type: ignore[attr-defined]
    assert await room.bob.take(2) == ["one", "three"]
    assert await anext(room.bob.context.events.take()) == Gap(alice.address, 2, 3)
    assert found[0][0] == ALICE


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


async def test_a_full_disk_ends_the_engine_with_one_clear_error_and_clears_nothing(
    room: Room,
) -> None:
    alice = room.writer("alice")
    room.post(alice, room.envelope(alice, "one"))
    await room.bob.take(1)
    store: Any = room.bob.context.store
    await room.until(lambda: len(room.published_to(alice.address)) == 1)
    await store._execute("PRAGMA max_page_count = 1", ())  # no page more than there is
    topics_sent = [room.post(alice, room.envelope(alice, "x" * 60_000)) for _ in range(8)]
    with pytest.raises(StorageFullError, match="free some space"):
        await room.until(lambda: False)
    await store._execute("PRAGMA max_page_count = 1073741823", ())
    kept = [one for one in topics_sent if one in room.broker.retained]
    history = await store.history(ALICE, 99, None)
    assert len(kept) == 8 - (len(history) - 1)
    assert kept


async def test_delivered_is_told_once_per_device() -> None:
    directory = SmallDirectory()
    broker = MemoryBroker(directory)
    async with (
        asyncio.timeout(60),
        device("bob", broker, directory) as bob,
        device("alice", broker, directory) as alice,
    ):
        await prekeys_ready(directory, bob)
        message_id = await alice.send(BOB, "hello")
        await alice.reaches(message_id, MessageState.DELIVERED)
        event = await anext(alice.context.events.take())
        assert event == Delivered(message_id, DeviceAddress("bob-1"))


async def test_a49_only_a_receipt_for_a_message_to_that_contact_is_told(room: Room) -> None:
    alice, bob = room.writer("alice"), room.bob.context
    to_alice, to_carol = (
        make_party("bob").queue(UserName(to), "hello")._replace(state=MessageState.PLANNED)
        for to in ("alice", "carol")
    )
    await bob.store.commit(Changes(messages=(to_alice, to_carol)))
    room.post(alice, room.envelope(alice, "first"))
    named = (to_carol.message_id, MessageId(bytes(16)), to_alice.message_id)
    for read in (False, True):
        due = [ReceiptDue(BOB, one, read=read, due_since=0) for one in named]
        room.post(alice, alice.receipt(room.bob, due))  # type: ignore[arg-type]
    room.post(alice, room.envelope(alice, "last"))
    assert await room.bob.take(2) == ["first", "last"]
    told = [one for one in bob.events._events if isinstance(one, Delivered | Read)]
    assert told == [
        Delivered(to_alice.message_id, alice.address),
        Read(to_alice.message_id, alice.address),
    ]
    stored = await bob.store.message(to_carol.message_id)
    assert stored is not None
    assert stored.message.state is MessageState.PLANNED


async def test_64_mib_of_envelopes_wait_in_memory_and_the_rest_on_the_broker() -> None:
    directory = SmallDirectory()
    async with device("bob", MemoryBroker(directory), directory, start=False) as bob:
        inbox = bob.running.engine._inbox
        for number in range(MAX_QUEUED_BYTES // 65_536 + 1):
            inbox.put(Incoming(f"topic {number}", bytes(65_536), retained=True))
        assert len(inbox._queue) == MAX_QUEUED_BYTES // 65_536
        inbox.put(Incoming("topic", b"", retained=False))
        assert inbox._queued_bytes == MAX_QUEUED_BYTES
        deciding = asyncio.create_task(inbox.loop())
        while inbox._queued_bytes:  # noqa: ASYNC110 - a test may look
            await asyncio.sleep(0.02)
        deciding.cancel()
        assert inbox.idle


async def test_locks_of_users_that_nobody_waits_for_take_no_memory() -> None:
    directory = SmallDirectory()
    async with device("bob", MemoryBroker(directory), directory, start=False) as bob:
        peers = bob.context.peers
        async with peers.lock(ALICE):
            assert peers.lock(ALICE).locked()
        for number in range(1000):
            peers.lock(UserName(f"u{number}"))
        assert len(peers._locks) <= 1


async def test_a_directory_that_answers_nonsense_does_not_end_the_engine() -> None:
    directory = SmallDirectory()
    for status in (Status.OK, Status.NOT_CONTACT):
        directory.statuses += [(status, b"nonsense")] * 2
        async with device("bob", MemoryBroker(directory), directory, pace=SLOW) as bob:
            room = Room(MemoryBroker(), directory, bob)
            await room.until(lambda: not directory.statuses)
            await asyncio.sleep(0.2)
            bob.running.check()
            assert bob.running.engine.connected


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


async def test_8_mib_of_unknown_senders_wait_in_memory_and_not_one_byte_more() -> None:
    directory = SmallDirectory()
    async with device("bob", MemoryBroker(directory), directory, start=False) as bob:
        lookup = SenderLookup(bob.context)

        def kept(user: str, size: int) -> int:
            topic = InboxTopic(bob.context.own.address, DeviceAddress(f"{user}-1"), EnvelopeId("e"))
            assert lookup.look_up(Arrived(topic, Envelope(1, 1, 1, b"", b""), b""), bytes(size))
            return sum(len(payload) for one in lookup._pending.values() for _, payload in one)

        limit = senders_module.MAX_PENDING_BYTES
        assert kept("w1", limit - 10) == limit - 10
        assert kept("w2", 11) == limit - 10
        assert kept("w1", 11) == limit - 10
        assert kept("w2", 9) == limit - 1
        assert kept("w1", 1) == limit
        assert kept("w2", 1) == limit
        asking = asyncio.create_task(lookup.loop(lambda *_: None, lambda _: None))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert kept("w3", limit) == limit  # a new connection starts with nobody asked for
        while lookup._pending:  # noqa: ASYNC110 - a test may look
            await asyncio.sleep(0.02)
        assert kept("w4", limit) == limit
        asking.cancel()


async def test_a_message_too_far_ahead_waits_on_the_broker_for_those_before_it(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending_module, "RENEW_AFTER", MAX_JUMP + 99)  # an impolite sender
    alice = room.writer("alice")
    room.post(alice, room.envelope(alice, "first"))
    await room.bob.take(1)
    envelopes = [room.envelope(alice, str(number)) for number in range(MAX_JUMP + 2)]
    topic = room.post(alice, envelopes[-1])
    inbox = room.bob.running.engine._inbox
    await room.until(lambda: len(inbox._left_waiting) == 1)
    assert topic in room.broker.retained
    earlier = room.post(alice, envelopes[0])
    await room.until(lambda: earlier not in room.broker.retained)
    await room.until(lambda: len(inbox._left_waiting) == 0)
    room.post(alice, envelopes[-1])
    await room.until(lambda: topic not in room.broker.retained)
    history = await room.bob.context.store.history(ALICE, 9, None)
    assert str(MAX_JUMP + 1) in [one.message.text for one in history]
