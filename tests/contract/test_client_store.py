"""What every store of a device promises, in memory and as an encrypted file."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from client_sdk import entropy
from client_sdk.machine.changes import Changes, UserRevision
from client_sdk.machine.rows import (
    AcceptedHandshake,
    Message,
    MessageState,
    OpenedEnvelope,
    OutboxEnvelope,
    Peer,
    Planned,
    PrekeyKind,
    PrekeyRow,
    ReceiptDue,
    Receipted,
    SessionRow,
    StateChange,
    StreamPosition,
)
from client_sdk.machine.streams import MAX_HELD
from client_sdk.stores.errors import StaleSnapshotError, StoreError
from client_sdk.stores.ports import (
    Backlog,
    ClientStore,
    Counts,
    Delivery,
    PublishedMark,
    Snapshot,
    StoredMessage,
)
from client_sdk.stores.sqlite import SqliteStore
from client_sdk.wire.directory import Contact, Relation
from client_sdk.wire.encoded_keys import AccountKey
from client_sdk.wire.ids import DeviceAddress, EnvelopeId, MessageId, StreamId, UserName
from client_sdk.wire.limits import MAX_COUNTER

ALICE, BOB, CAROL = UserName("alice"), UserName("bob"), UserName("carol")
BOB_1, CAROL_1 = DeviceAddress("bob-1"), DeviceAddress("carol-1")
STREAM = StreamId(b"streamid")
NOW = 1_800_000_000_000


@pytest.fixture(params=["memory", "passphrase", "key file"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ClientStore]:
    made: dict[str, Callable[[], SqliteStore]] = {
        "memory": SqliteStore.in_memory,
        "passphrase": lambda: SqliteStore.create(tmp_path / "device.db", "long enough"),
        "key file": lambda: SqliteStore.create(tmp_path / "device.db", None),
    }
    opened = made[request.param]()
    yield opened
    await opened.close()


def outgoing(text: str = "hello", to: UserName = BOB, **fields: Any) -> Message:
    base = Message(
        message_id=entropy.draw_message_id(),
        conversation=to,
        sender=ALICE,
        sender_device=DeviceAddress("alice-1"),
        outgoing=True,
        state=MessageState.QUEUED,
        sent_at=NOW,
        text=text,
    )
    return base._replace(**fields)


def incoming(text: str, sequence: int, sender: UserName = BOB, **fields: Any) -> Message:
    base = Message(
        message_id=entropy.draw_message_id(),
        conversation=sender,
        sender=sender,
        sender_device=DeviceAddress(f"{sender}-1"),
        outgoing=False,
        state=MessageState.HELD,
        sent_at=NOW,
        text=text,
        stream_id=STREAM,
        sequence=sequence,
        received_at=NOW,
    )
    return base._replace(**fields)


def envelope(message_id: MessageId | None, size: int = 10, at: int = NOW) -> OutboxEnvelope:
    return OutboxEnvelope(EnvelopeId(entropy.draw_id()), BOB_1, BOB, message_id, bytes(size), at)


def released(
    message: Message, state: MessageState = MessageState.READY, *, after_gap: bool = False
) -> StateChange:
    return StateChange(message.message_id, message.sender, state, after_gap)


def texts(found: list[StoredMessage]) -> list[str | None]:
    return [one.message.text for one in found]


async def test_a_new_store_is_empty(store: ClientStore) -> None:
    assert await store.device() is None
    assert await store.snapshot(BOB) == Snapshot(BOB, 0, Peer(BOB), (), ())
    assert await store.users_with_queued() == []
    assert await store.backlog(BOB_1) == Backlog(0, 0)
    assert await store.due_envelopes(MAX_COUNTER, 10) == []
    assert await store.next_envelope_at() is None
    assert await store.find_opened([(BOB_1, EnvelopeId("a" * 26))]) == {}
    assert await store.ready(10) == await store.requests() == []
    assert await store.message(MessageId(bytes(16))) is None
    assert await store.contacts() == []
    assert await store.counts() == Counts(0, 0, 0, 0)
    assert await store.receipts_due(10) == []
    assert await store.overdue(MAX_COUNTER, MAX_COUNTER) == []


async def test_the_devices_record_is_replaced(store: ClientStore) -> None:
    for record in (b"first", b"second"):
        await store.commit(Changes(device=record))
        assert await store.device() == record


async def test_the_pinned_ca_is_kept_and_replaced(store: ClientStore) -> None:
    assert await store.pinned_ca() is None
    await store.keep_pinned_ca(b"first")
    await store.keep_pinned_ca(b"second")
    assert await store.pinned_ca() == b"second"


async def test_all_rows_of_a_user_come_back_as_they_were_written(store: ClientStore) -> None:
    peer = Peer(
        BOB,
        *(AccountKey(b"k" * 33), b"list", Relation.STRANGER, "nurse", "Bob", True, True, 7),
        *(True, b"other list", AccountKey(b"s" * 33)),
        superseded=(AccountKey(b"1" * 33), AccountKey(b"2" * 33)),
    )
    session = SessionRow(BOB_1, BOB, b"record")
    held = tuple((number, entropy.draw_message_id()) for number in range(2, MAX_HELD + 2))
    stream = StreamPosition(BOB_1, STREAM, 1, NOW, held)
    await store.commit(
        Changes(
            based_on=(UserRevision(BOB, 0),), peers=(peer,), sessions=(session,), streams=(stream,)
        )
    )
    assert await store.snapshot(BOB) == Snapshot(BOB, 1, peer, (session,), (stream,))
    assert (await store.snapshot(CAROL)).revision == 0
    later = stream._replace(next_sequence=MAX_COUNTER, gap_since=None, held=())
    await store.commit(
        Changes(
            based_on=(UserRevision(BOB, 1),),
            sessions=(session._replace(record=b"next"),),
            streams=(later,),
        )
    )
    snapshot = await store.snapshot(BOB)
    assert (snapshot.revision, snapshot.sessions[0].record) == (2, b"next")
    assert snapshot.streams == (later,)


async def test_a_stale_revision_is_refused_and_nothing_of_it_is_written(store: ClientStore) -> None:
    await store.commit(Changes(based_on=(UserRevision(BOB, 0),)))
    for stale in (0, 2, 7):
        message = outgoing()
        changes = Changes(
            based_on=(UserRevision(CAROL, 0), UserRevision(BOB, stale)),
            device=b"not this",
            messages=(message,),
            envelopes=(envelope(message.message_id),),
        )
        with pytest.raises(StaleSnapshotError):
            await store.commit(changes)
    assert await store.device() is None
    assert await store.users_with_queued() == []
    assert await store.due_envelopes(MAX_COUNTER, 1) == []
    assert (await store.snapshot(CAROL)).revision == 0
    assert (await store.snapshot(BOB)).revision == 1


async def test_of_two_tasks_on_one_revision_one_wins(store: ClientStore) -> None:
    changes = [
        Changes(based_on=(UserRevision(BOB, 0),), messages=(outgoing(f"task {n}"),))
        for n in range(8)
    ]
    outcomes = await asyncio.gather(*map(store.commit, changes), return_exceptions=True)
    assert [type(one) for one in outcomes].count(StaleSnapshotError) == 7
    assert len(await store.queued(BOB, 10)) == 1


async def test_a_failing_member_of_a_group_commit_takes_no_other_with_it(
    store: ClientStore,
) -> None:
    double = outgoing("double")
    doubled = Changes(messages=(double, double))
    good = [Changes(messages=(outgoing(str(n)),)) for n in range(20)]
    commits = [*good[:10], doubled, *good[10:]]
    outcomes = await asyncio.gather(*map(store.commit, commits), return_exceptions=True)
    assert [one for one in outcomes if one is not None] == [outcomes[10]]
    assert isinstance(outcomes[10], StoreError)
    assert [one.text for one in await store.queued(BOB, 99)] == [str(n) for n in range(20)]


async def test_a_commit_whose_caller_was_cancelled_is_whole_or_absent(store: ClientStore) -> None:
    task = asyncio.ensure_future(
        store.commit(Changes(messages=(outgoing("one"), outgoing("two")), device=b"record"))
    )
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    written = await store.device() is not None
    assert len(await store.queued(BOB, 9)) == (2 if written else 0)


async def test_counters_grow_and_never_repeat(store: ClientStore) -> None:
    assert await store.reserve("a", 1) == 1
    assert await store.reserve("a", 5) == 2
    assert await store.reserve("a", 1) == 7
    assert await store.reserve("b", 1) == 1
    await store.raise_counter("a", 100)
    await store.raise_counter("a", 50)
    assert await store.reserve("a", 1) == 101
    await store.raise_counter("new", 9)
    assert await store.reserve("new", 1) == 10
    taken = await asyncio.gather(*(store.reserve("many", 2) for _ in range(20)))
    assert sorted(taken) == list(range(1, 41, 2))


async def test_queued_messages_wait_in_the_order_of_sending(store: ClientStore) -> None:
    for text, to in (("1", CAROL), ("2", BOB), ("3", BOB), ("4", CAROL)):
        await store.commit(Changes(messages=(outgoing(text, to),)))
    assert await store.users_with_queued() == [CAROL, BOB]
    assert [one.text for one in await store.queued(BOB, 10)] == ["2", "3"]
    assert [one.text for one in await store.queued(BOB, 1)] == ["2"]
    assert await store.queued(BOB, 0) == []
    (first, _) = await store.queued(BOB, 2)
    await store.commit(Changes(planned=(Planned(first.message_id, STREAM, 12),)))
    stored = await store.message(first.message_id)
    assert stored is not None
    assert stored.message == first._replace(
        state=MessageState.PLANNED, stream_id=STREAM, sequence=12
    )
    assert [one.text for one in await store.queued(BOB, 10)] == ["3"]


async def test_envelopes_are_due_until_receipted_and_receipts_until_published(
    store: ClientStore,
) -> None:
    message = outgoing()
    mail, receipt = envelope(message.message_id, 70), envelope(None, 30, NOW + 1)
    await store.commit(
        Changes(
            messages=(message,),
            planned=(Planned(message.message_id, STREAM, 1),),
            envelopes=(mail, receipt),
        )
    )
    assert await store.backlog(BOB_1) == Backlog(2, 100)
    assert await store.due_envelopes(NOW - 1, 10) == []
    assert await store.due_envelopes(NOW, 10) == [mail]
    assert await store.due_envelopes(NOW + 1, 10) == [mail, receipt]
    assert await store.due_envelopes(NOW + 1, 1) == [mail]
    unknown = PublishedMark(EnvelopeId("b" * 26), NOW)
    marks = [PublishedMark(one.envelope_id, NOW + 30) for one in (mail, receipt)]
    await store.mark_published([*marks, unknown])
    assert await store.due_envelopes(NOW + 29, 10) == []
    assert await store.next_envelope_at() == NOW + 30
    assert await store.due_envelopes(NOW + 30, 10) == [mail._replace(attempts=1)]
    stored = await store.message(message.message_id)
    assert stored is not None
    assert stored.message.state is MessageState.PUBLISHED
    await store.postpone(BOB_1, NOW + 20)
    await store.postpone(DeviceAddress("bob-2"), NOW + 90)
    assert await store.next_envelope_at() == NOW + 30
    await store.postpone(BOB_1, NOW + 40)
    assert await store.next_envelope_at() == NOW + 40
    await store.resume(BOB_1, NOW + 1)
    assert await store.next_envelope_at() == NOW + 40  # it was published before
    await store.publish_again(NOW + 5)
    assert await store.next_envelope_at() == NOW + 5
    await store.publish_again(NOW + 99)
    assert await store.next_envelope_at() == NOW + 5
    assert await store.envelopes_of(message.message_id) == [mail._replace(attempts=1)]
    await store.commit(Changes(envelopes_gone=(mail.envelope_id,)))
    assert await store.envelopes_of(message.message_id) == []


async def test_what_was_never_published_is_due_again_when_there_is_room(store: ClientStore) -> None:
    message = outgoing()
    mail = envelope(message.message_id)
    await store.commit(
        Changes(
            messages=(message,),
            planned=(Planned(message.message_id, STREAM, 1),),
            envelopes=(mail,),
        )
    )
    await store.postpone(BOB_1, NOW + 40)
    await store.resume(DeviceAddress("bob-2"), NOW + 1)
    assert await store.next_envelope_at() == NOW + 40
    await store.resume(BOB_1, NOW + 1)
    assert await store.next_envelope_at() == NOW + 1
    await store.resume(BOB_1, NOW + 9)
    assert await store.next_envelope_at() == NOW + 1


async def test_a_receipt_ends_the_envelope_of_that_device_only(store: ClientStore) -> None:
    message = outgoing()
    first = envelope(message.message_id)
    second = envelope(message.message_id)._replace(recipient=DeviceAddress("bob-2"))
    await store.commit(
        Changes(
            messages=(message,),
            planned=(Planned(message.message_id, STREAM, 1),),
            envelopes=(first, second),
        )
    )
    await store.commit(Changes(receipted=(Receipted(message.message_id, BOB_1, BOB, False, 5),)))
    assert await store.envelopes_of(message.message_id) == [second]
    for receipt in (
        Receipted(message.message_id, BOB_1, BOB, False, 99),
        Receipted(message.message_id, BOB_1, BOB, True, 6),
        Receipted(message.message_id, DeviceAddress("bob-2"), BOB, False, 7),
    ):
        await store.commit(Changes(receipted=(receipt,)))
    assert await store.deliveries(message.message_id) == [
        Delivery(BOB_1, 5, 6),
        Delivery(DeviceAddress("bob-2"), 7, None),
    ]
    stored = await store.message(message.message_id)
    assert stored is not None
    assert stored.message.state is MessageState.READ


async def test_receipts_for_foreign_or_queued_messages_change_nothing(store: ClientStore) -> None:
    queued, to_carol, received = outgoing(), outgoing(to=CAROL), incoming("hi", 1)
    mail = envelope(to_carol.message_id)._replace(recipient=CAROL_1, user=CAROL)
    await store.commit(
        Changes(
            messages=(queued, to_carol, received),
            planned=(Planned(to_carol.message_id, STREAM, 1),),
            envelopes=(mail,),
        )
    )
    for message_id in (
        queued.message_id,
        to_carol.message_id,
        received.message_id,
        entropy.draw_message_id(),
    ):
        for read in (True, False):
            await store.commit(Changes(receipted=(Receipted(message_id, BOB_1, BOB, read, 5),)))
        assert await store.deliveries(message_id) == []
    stored = await store.message(to_carol.message_id)
    assert stored is not None
    assert stored.message.state is MessageState.PLANNED
    assert await store.envelopes_of(to_carol.message_id) == [mail]
    assert [one.text for one in await store.queued(BOB, 9)] == ["hello"]
    assert texts(await store.history(BOB, 9, None)) == ["hello", "hi"]


async def test_sent_to_a_user_are_own_encrypted_messages_to_that_user(store: ClientStore) -> None:
    queued, to_bob, to_carol = outgoing(), outgoing(), outgoing(to=CAROL)
    received = incoming("hi", 1)
    messages = (queued, to_bob, to_carol, received)
    planned = (Planned(to_bob.message_id, STREAM, 1), Planned(to_carol.message_id, STREAM, 1))
    await store.commit(Changes(messages=messages, planned=planned))
    named = [one.message_id for one in messages] + [entropy.draw_message_id()]
    assert await store.sent_to(BOB, named) == {to_bob.message_id}
    assert await store.sent_to(CAROL, named) == {to_carol.message_id}
    assert await store.sent_to(BOB, []) == set()


async def test_messages_are_handed_over_in_the_order_of_their_release(store: ClientStore) -> None:
    one, two, three = incoming("one", 1), incoming("two", 2), incoming("three", 3)
    await store.commit(Changes(messages=(three,)))
    await store.commit(Changes(messages=(two,)))
    assert await store.ready(10) == []
    await store.commit(Changes(messages=(one,), states=tuple(map(released, (one, two, three)))))
    four, five = incoming("four", 4), incoming("five", 5)
    await store.commit(
        Changes(messages=(four, five), states=(released(four), released(five, after_gap=True)))
    )
    everything = ["one", "two", "three", "four", "five"]
    assert texts(await store.ready(10)) == everything
    assert texts(await store.ready(2)) == ["one", "two"]
    assert [one.message.after_gap for one in await store.ready(10)] == [False] * 4 + [True]
    await store.commit(Changes(states=(released(one, MessageState.HANDLED),)))
    assert texts(await store.ready(10)) == everything[1:]
    assert texts(await store.history(BOB, 10, None)) == everything


async def test_history_shows_what_waited_in_the_order_of_its_release(store: ClientStore) -> None:
    held = [incoming(str(number), number) for number in (2, 4, 6)]
    await store.commit(Changes(messages=tuple(held)))
    one, three, five = (incoming(str(number), number) for number in (1, 3, 5))
    order = [one, held[0], three, held[1], five, held[2]]
    await store.commit(Changes(messages=(one, three, five), states=tuple(map(released, order))))
    own = outgoing("own")
    await store.commit(Changes(messages=(own,)))
    seven = incoming("7", 7)
    await store.commit(Changes(messages=(seven,), states=(released(seven),)))
    shown = await store.history(BOB, 99, None)
    assert texts(shown) == ["1", "2", "3", "4", "5", "6", "own", "7"]
    positions = [one.position for one in shown]
    assert positions == sorted(set(positions))
    assert texts(await store.history(BOB, 3, positions[5])) == ["3", "4", "5"]
    assert texts(await store.history(BOB, 3, positions[0])) == []
    assert await store.history(CAROL, 3, None) == []


async def test_one_state_belongs_to_one_sender(store: ClientStore) -> None:
    of_bob = incoming("bob's", 1)
    of_carol = incoming("carol's", 1, CAROL)._replace(message_id=of_bob.message_id)
    own = outgoing("own")._replace(message_id=of_bob.message_id)
    await store.commit(Changes(messages=(of_bob, of_carol, own), states=(released(of_carol),)))
    assert texts(await store.ready(9)) == ["carol's"]
    assert await store.known_messages(BOB, [of_bob.message_id]) == {of_bob.message_id}
    stored = await store.message(of_bob.message_id)
    assert stored is not None
    assert stored.message == own
    assert await store.known_messages(UserName("dave"), [of_bob.message_id]) == set()
    with pytest.raises(StoreError):
        await store.commit(Changes(messages=(of_bob,)))


async def test_requests_wait_in_the_order_of_their_streams(store: ClientStore) -> None:
    second, first = incoming("second", 2), incoming("first", 1)
    of_carol = incoming("carol's", 1, CAROL)
    request = MessageState.REQUEST
    await store.commit(Changes(messages=(second,)))
    await store.commit(
        Changes(messages=(first,), states=(released(first, request), released(second, request)))
    )
    await store.commit(Changes(messages=(of_carol,), states=(released(of_carol, request),)))
    assert texts(await store.requests()) == ["first", "carol's"]
    waiting = [first.message_id, second.message_id]
    assert await store.waiting_requests(BOB) == waiting
    assert await store.ready(9) == []
    states = tuple(StateChange(one, BOB, MessageState.READY) for one in waiting)
    await store.commit(Changes(states=states))
    assert texts(await store.ready(9)) == ["first", "second"]
    assert texts(await store.requests()) == ["carol's"]


async def test_opened_envelopes_are_found_until_pruned(store: ClientStore) -> None:
    old = OpenedEnvelope(BOB_1, EnvelopeId("a" * 26), b"d" * 32, MessageId(bytes(16)), 10)
    new = old._replace(envelope_id=EnvelopeId("b" * 26), message_id=None, opened_at=20)
    await store.commit(Changes(opened=(old, new)))
    keys = [(one.sender, one.envelope_id) for one in (old, new)]
    other = (CAROL_1, old.envelope_id)
    assert await store.find_opened([*keys, other]) == dict(zip(keys, (old, new), strict=True))
    await store.prune(20)
    assert await store.find_opened(keys) == {keys[1]: new}


async def test_handshakes_are_remembered(store: ClientStore) -> None:
    one = AcceptedHandshake(b"x" * 32, 7)
    await store.commit(Changes(handshakes=(one,)))
    await store.commit(Changes(handshakes=(one,)))
    assert await store.knows_handshake(one.digest)
    assert not await store.knows_handshake(b"y" * 32)


async def test_a_handshake_is_forgotten_with_its_signed_prekey_and_not_before(
    store: ClientStore,
) -> None:
    signed = [PrekeyRow(PrekeyKind.SIGNED, n, bytes([n]) * 32, NOW) for n in (1, 3)]
    last = [PrekeyRow(PrekeyKind.KEM_LAST_RESORT, n, bytes([n]) * 64, NOW) for n in (1, 3)]
    old, new = AcceptedHandshake(b"o" * 32, 1), AcceptedHandshake(b"n" * 32, 3)
    await store.commit(Changes(prekeys=(*signed, *last), handshakes=(old, new)))
    await store.commit(Changes(prekeys_spent=((PrekeyKind.KEM_LAST_RESORT, 1),)))
    assert await store.knows_handshake(old.digest)
    await store.commit(Changes(prekeys_spent=((PrekeyKind.SIGNED, 1),)))
    assert not await store.knows_handshake(old.digest)
    assert await store.knows_handshake(new.digest)


async def test_prekeys_are_uploaded_once_and_spent_at_most_once(store: ClientStore) -> None:
    rows = tuple(PrekeyRow(PrekeyKind.ONE_TIME, n, bytes([n]) * 32, NOW) for n in range(1, 6))
    kem = PrekeyRow(PrekeyKind.KEM_ONE_TIME, 1, b"k" * 64, NOW)
    await store.commit(Changes(prekeys=(*rows, kem)))
    assert await store.waiting_prekeys(PrekeyKind.ONE_TIME, 3) == list(rows[:3])
    await store.commit(Changes(prekeys_uploaded=tuple((row.kind, row.id) for row in rows[:3])))
    assert await store.waiting_prekeys(PrekeyKind.ONE_TIME, 9) == list(rows[3:])
    assert (await store.counts()).one_time_prekeys == 3
    key, absent = (PrekeyKind.ONE_TIME, 1), (PrekeyKind.SIGNED, 1)
    assert await store.load_prekeys([key, absent]) == {key: rows[0]._replace(uploaded=True)}
    spends = [
        Changes(prekeys_spent=(key,), handshakes=(AcceptedHandshake(bytes([n]), 1),))
        for n in range(4)
    ]
    outcomes = await asyncio.gather(*map(store.commit, spends), return_exceptions=True)
    assert [type(one) for one in outcomes].count(StaleSnapshotError) == 3
    assert sum([await store.knows_handshake(bytes([n])) for n in range(4)]) == 1
    assert await store.load_prekeys([key]) == {}
    assert await store.load_prekeys([(PrekeyKind.KEM_ONE_TIME, 1)]) != {}


async def test_receipts_are_owed_once_until_sent(store: ClientStore) -> None:
    first = ReceiptDue(BOB, MessageId(b"1" * 16), False, 20)
    early = ReceiptDue(CAROL, MessageId(b"2" * 16), False, 10)
    read = first._replace(read=True, due_since=30)
    await store.commit(Changes(receipts_due=(first, early, read)))
    await store.commit(Changes(receipts_due=(first._replace(due_since=99),)))
    assert await store.receipts_due(10) == [early, first, read]
    assert await store.receipts_due(1) == [early]
    await store.commit(Changes(receipts_sent=(first,)))
    assert await store.receipts_due(10) == [early, read]


async def test_gaps_are_found_by_their_age(store: ClientStore) -> None:
    gap = StreamPosition(BOB_1, STREAM, 1, 50, ((2, MessageId(bytes(16))),))
    whole = StreamPosition(CAROL_1, STREAM, 4)
    await store.commit(Changes(streams=(gap, whole)))
    assert await store.gaps_since(49) == []
    assert await store.gaps_since(50) == [(BOB, gap)]


async def test_own_messages_are_overdue_by_age_or_expiry_until_they_are_delivered(
    store: ClientStore,
) -> None:
    old, dated, young = outgoing("old", sent_at=5), outgoing("dated", expires_at=50), outgoing()
    delivered = outgoing("delivered", sent_at=5, state=MessageState.PLANNED)
    await store.commit(Changes(messages=(old, dated, young, delivered)))
    receipt = Receipted(delivered.message_id, BOB_1, BOB, False, 6)
    await store.commit(Changes(receipted=(receipt,)))
    found = await store.overdue(6, 50)
    assert {one.text for one in found} == {"old", "dated"}
    assert await store.overdue(5, 49) == []


async def test_contacts_are_replaced_as_a_whole(store: ClientStore) -> None:
    contacts = [Contact(BOB, "nurse", "Bob"), Contact(CAROL, "", "")]
    await store.replace_contacts(contacts[::-1])
    assert await store.contacts() == contacts
    await store.replace_contacts(contacts[:1])
    assert await store.contacts() == contacts[:1]


async def test_counts_tell_what_waits(store: ClientStore) -> None:
    under_way, received = outgoing(), incoming("hi", 1)
    await store.commit(
        Changes(
            messages=(outgoing(), outgoing(), under_way, received),
            planned=(Planned(under_way.message_id, STREAM, 1),),
            states=(released(received),),
        )
    )
    assert await store.counts() == Counts(queued=2, under_way=1, unread=1, one_time_prekeys=0)


async def test_every_kind_of_content_comes_back_whole(store: ClientStore) -> None:
    message = outgoing()._replace(
        text=None,
        data=bytes(range(256)),
        content_type="application/octet-stream",
        reply_to=MessageId(b"r" * 16),
        expires_at=MAX_COUNTER,
        sent_at=MAX_COUNTER,
    )
    text = outgoing("nul \x00, \N{GRINNING FACE}, \u202e and a\nline")
    await store.commit(Changes(messages=(message, text)))
    assert await store.queued(BOB, 9) == [message, text]


async def test_a_closed_store_refuses_and_may_be_closed_again() -> None:
    store = SqliteStore.in_memory()
    await store.close()
    await store.close()
    with pytest.raises(StoreError):
        await store.commit(Changes(device=b"x"))
    with pytest.raises(StoreError):
        await store.device()


async def test_users_are_found_by_what_the_directory_calls_them(store: ClientStore) -> None:
    for user, relation in ((CAROL, Relation.CONTACT), (ALICE, None), (BOB, Relation.CONTACT)):
        peer = Peer(user, relation=relation)
        await store.commit(Changes(based_on=(UserRevision(user, 0),), peers=(peer,)))
    assert await store.users_related(Relation.CONTACT) == [BOB, CAROL]
    assert await store.users_related(Relation.STRANGER) == []


async def test_the_last_row_of_a_stream_stands_and_one_that_is_gone_is_deleted(
    store: ClientStore,
) -> None:
    one, two = StreamPosition(BOB_1, STREAM, used_at=5), StreamPosition(BOB_1, StreamId(bytes(8)))
    await store.commit(Changes(streams=(one, two._replace(gone=True), two)))
    assert set((await store.snapshot(BOB)).streams) == {one, two}
    await store.commit(Changes(streams=(two, one, two._replace(gone=True))))
    assert (await store.snapshot(BOB)).streams == (one,)
