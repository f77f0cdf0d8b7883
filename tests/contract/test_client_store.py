"""What every store of a device promises, in memory and as an encrypted file."""

import asyncio

import pytest

from client_sdk import entropy
from client_sdk.machine.changes import Changes, UserRevision
from client_sdk.machine.rows import (
    AcceptedHandshake,
    OpenedEnvelope,
    Peer,
    Planned,
    PrekeyKind,
    PrekeyRow,
    SessionRow,
    StreamPosition,
)
from client_sdk.machine.streams import MAX_HELD
from client_sdk.stores.errors import StaleSnapshotError, StoreError
from client_sdk.stores.ports import Backlog, ClientStore, Counts, Snapshot
from client_sdk.stores.sqlite import SqliteStore
from client_sdk.wire.directory import Contact, Relation
from client_sdk.wire.encoded_keys import AccountKey
from client_sdk.wire.ids import EnvelopeId, MessageId, StreamId
from client_sdk.wire.limits import MAX_COUNTER
from tests.contract.client_stores import (
    ALICE,
    BOB,
    BOB_1,
    CAROL,
    CAROL_1,
    NOW,
    STREAM,
    envelope,
    incoming,
    outgoing,
    released,
    store,
)

__all__ = ["store"]


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


async def test_the_address_that_answered_last_is_kept_and_replaced(store: ClientStore) -> None:
    assert await store.last_broker() is None
    await store.keep_last_broker("mqtts://first")
    await store.keep_last_broker("mqtts://second")
    assert await store.last_broker() == "mqtts://second"


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
