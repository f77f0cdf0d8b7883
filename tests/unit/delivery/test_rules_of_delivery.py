"""How one open device receives and receipts, seen from its broker and its directory."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from client_sdk.core.chain import MAX_JUMP
from client_sdk.delivery import senders as senders_module
from client_sdk.delivery.clock import now_ms
from client_sdk.delivery.inbox import MAX_QUEUED_BYTES
from client_sdk.delivery.list_watch import ListWatch
from client_sdk.delivery.pace import Pace
from client_sdk.delivery.senders import SenderLookup
from client_sdk.machine import sending as sending_module
from client_sdk.machine.changes import Changes
from client_sdk.machine.errors import DeviceListError
from client_sdk.machine.events import Delivered, Gap, Read
from client_sdk.machine.opening import Arrived, handshake_wanted
from client_sdk.machine.received import Opened
from client_sdk.machine.rows import MessageState, ReceiptDue
from client_sdk.machine.streams import GAP_TIMEOUT_MS
from client_sdk.stores.errors import StorageFullError
from client_sdk.transport.ports import Incoming
from client_sdk.wire.bundle import list_mark
from client_sdk.wire.codec import encode
from client_sdk.wire.content import ListMark
from client_sdk.wire.directory import (
    DEVICE_LIST_REPLY,
    FETCH_DEVICE_LIST,
    Action,
    SignedRequest,
    Status,
)
from client_sdk.wire.envelope import Envelope
from client_sdk.wire.ids import DeviceAddress, EnvelopeId, MessageId, UserName
from client_sdk.wire.topics import InboxTopic
from tests.simulation.devices import device, prekeys_ready
from tests.simulation.memory_broker import MemoryBroker
from tests.simulation.small_directory import SmallDirectory
from tests.unit.delivery.rooms import ALICE, BOB, SLOW, Room
from tests.unit.machine.machine_parties import empty_state, make_party
from tests.unit.wire.samples import CONTENT_SAMPLE


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


async def test_500_envelopes_of_an_unknown_sender_wait_in_memory_and_not_one_more() -> None:
    directory = SmallDirectory()
    async with device("bob", MemoryBroker(directory), directory, start=False) as bob:
        lookup = SenderLookup(bob.context)

        def kept(user: str) -> int:
            topic = InboxTopic(bob.context.own.address, DeviceAddress(f"{user}-1"), EnvelopeId("e"))
            assert lookup.look_up(Arrived(topic, Envelope(1, 1, 1, b"", b""), b""), b"1")
            return len(lookup._pending[UserName(user)])

        counts = [kept("w1") for _ in range(501)]
        assert counts[-2:] == [500, 500]
        assert counts[-3] == 499
        assert kept("w2") == 1


class Paging(SmallDirectory):
    """A directory that has still newer lists in so many answers."""

    left = 0

    def act(self, request: SignedRequest) -> tuple[Status, bytes]:
        status, body = super().act(request)
        if request.action != Action.FETCH_DEVICE_LIST or not self.left:
            return status, body
        if FETCH_DEVICE_LIST.decode(request.body).user != ALICE:
            return status, body
        self.left -= 1
        return status, encode(DEVICE_LIST_REPLY.decode(body)._replace(more=True))


@pytest.mark.parametrize("more", [31, 32])
async def test_a_directory_is_asked_for_32_pages_of_device_lists_and_no_more(more: int) -> None:
    directory = Paging()
    broker = MemoryBroker(directory)
    directory.register(make_party("alice").own)
    async with device("bob", broker, directory) as bob:
        async with asyncio.timeout(10):
            while not bob.running.engine.connected:  # noqa: ASYNC110 - a test may look
                await asyncio.sleep(0.02)
        directory.left = more
        if more < 32:
            await bob.context.peers.refresh(ALICE)
        else:
            with pytest.raises(DeviceListError, match="more device lists"):
                await bob.context.peers.refresh(ALICE)
        assert directory.left == 0


async def test_four_newer_lists_of_a_user_are_asked_for_in_a_minute_and_no_fifth() -> None:
    directory = SmallDirectory()
    async with device("bob", MemoryBroker(directory), directory, start=False) as bob:
        watch, own = ListWatch(bob.context), bob.context.own.record.device_list
        topic = InboxTopic(bob.context.own.address, DeviceAddress("alice-1"), EnvelopeId("e"))
        arrived = Arrived(topic, Envelope(1, 1, 1, b"", b""), b"")
        alices = make_party("alice").own.record.device_list

        async def asked(user: str, version: int) -> int:
            content = CONTENT_SAMPLE._replace(
                sender_list=ListMark(version, bytes(16)), recipient_list=list_mark(own)
            )
            state = replace(empty_state(UserName(user)), device_list=alices)
            await watch.heard(state, [Opened(arrived, content, Changes())])
            return bob.context.stale_lists.qsize()

        assert [await asked("alice", 100 + number) for number in range(5)] == [1, 2, 3, 4, 4]
        assert await asked("carol", 100) == 5
        assert await asked("alice", 100) == 5


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
