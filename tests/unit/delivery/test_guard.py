"""An older store is noticed by the lock file or the directory before it sends anything."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from client_sdk.delivery import guard as guard_module
from client_sdk.delivery.clock import now_ms
from client_sdk.delivery.guard import Guard
from client_sdk.delivery.lease import ConnectionLease
from client_sdk.delivery.unopened import MAX_REMEMBERED, Unopened
from client_sdk.machine.changes import Changes
from client_sdk.machine.device import load_device
from client_sdk.machine.errors import IdentityChangedError
from client_sdk.machine.events import IdentityChanged, RollbackSource, StoreRolledBack
from client_sdk.machine.healing import CANDIDATE_LIFETIME_MS
from client_sdk.machine.rows import Candidate, MessageState
from client_sdk.stores.errors import StaleSnapshotError
from client_sdk.wire import topics
from client_sdk.wire.healing import StoreCounters
from client_sdk.wire.ids import EnvelopeId, UserName
from tests.simulation.devices import QUICK, Device, device, prekeys_ready
from tests.simulation.memory_broker import MemoryBroker
from tests.simulation.small_directory import SmallDirectory
from tests.unit.machine.machine_parties import make_pair, make_record

ALICE, BOB = UserName("alice"), UserName("bob")
ELSEWHERE = b"\x01" * 16


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Device, Device, SmallDirectory]]:
    directory = SmallDirectory()
    broker = MemoryBroker(directory)
    async with (
        device("alice", broker, directory) as alice,
        device("bob", broker, directory) as bob,
    ):
        await prekeys_ready(directory, alice, bob)
        await alice.reaches(await alice.send(BOB, "first"), MessageState.DELIVERED)
        yield alice, bob, directory


def guard_of(one: Device) -> Guard:
    return one.running.engine.guard


async def sessions(one: Device) -> list[bool]:
    """Return for each device whether there is a session to send in."""
    peers = one.context.peers
    return [
        record.current is not None
        for user in await one.context.store.users()
        for record in (await peers.load(user)).sessions.values()
    ]


async def test_a_report_that_another_copy_outran_archives_all_sessions(
    pair: tuple[Device, Device, SmallDirectory],
) -> None:
    alice, bob, directory = pair
    stream = alice.context.own.record.stream_id
    address = alice.context.own.address
    directory.counters[address] = StoreCounters(7, 500, ELSEWHERE)
    await guard_of(alice).report()
    assert await sessions(alice) == [False]
    assert alice.context.own.record.stream_id != stream
    after = directory.counters[address]
    assert (after.opens, after.commits > 500) == (8, True)
    told = alice.context.events.take()
    while (event := await anext(told)) != StoreRolledBack(RollbackSource.DIRECTORY):
        assert not isinstance(event, StoreRolledBack)
    await alice.reaches(await alice.send(BOB, "second"), MessageState.DELIVERED)
    assert await bob.take(2) == ["first", "second"]
    await guard_of(alice).report()  # once told, it is over
    assert await sessions(alice) == [True]


async def test_new_prekeys_are_published_under_numbers_that_no_copy_has_used(
    pair: tuple[Device, Device, SmallDirectory],
) -> None:
    alice, _, directory = pair
    address = alice.context.own.address
    signed = directory.devices[address].signed
    assert signed is not None
    directory.counters[address] = StoreCounters(7, 500, ELSEWHERE)
    await guard_of(alice).report()
    renewed = directory.devices[address].signed
    assert renewed is not None
    assert renewed.id > signed.id + guard_module.PREKEY_LEAP


async def test_where_the_file_told_already_the_directory_only_lifts_the_count(
    pair: tuple[Device, Device, SmallDirectory],
) -> None:
    alice, _, directory = pair
    guard, address = guard_of(alice), alice.context.own.address
    await guard._start_afresh(RollbackSource.FILE, 7)
    stream = alice.context.own.record.stream_id
    directory.counters[address] = StoreCounters(7, 5000, ELSEWHERE)
    await guard.report()
    assert alice.context.own.record.stream_id == stream
    assert directory.counters[address].commits > 5000
    directory.counters[address] = StoreCounters(9, 9000, ELSEWHERE)  # a copy opened after it
    await guard.report()
    assert alice.context.own.record.stream_id != stream


async def test_another_process_that_writes_meanwhile_leaves_no_session_behind(
    pair: tuple[Device, Device, SmallDirectory], monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, _, directory = pair
    commit, failures = alice.context.store.commit, iter([StaleSnapshotError("moved on")])

    async def once_stale(changes: Changes, *, relaxed: bool = False) -> None:
        if changes.sessions:
            for error in failures:
                raise error
        await commit(changes, relaxed=relaxed)

    monkeypatch.setattr(alice.context.store, "commit", once_stale)
    directory.counters[alice.context.own.address] = StoreCounters(7, 500, ELSEWHERE)
    await guard_of(alice).report()
    assert await sessions(alice) == [False]
    assert next(failures, None) is None


async def test_a_directory_that_is_away_holds_nothing_up_and_is_asked_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guard_module, "CHECK_SECONDS", 0.1)
    monkeypatch.setattr(guard_module, "ASK_AGAIN_SECONDS", 0.1)
    directory = SmallDirectory(silent=True)
    broker = MemoryBroker(directory)
    async with device("alice", broker, directory, pace=QUICK) as alice:
        while not guard_of(alice).checked:
            alice.running.check()
            await asyncio.sleep(0.02)
        address = alice.context.own.address
        assert directory.counters == {}
        directory.silent = False
        while address not in directory.counters:
            alice.running.check()
            await asyncio.sleep(0.02)
        assert directory.counters[address].opens == 1


async def test_what_nobody_answers_for_is_cleared_after_seven_days(
    pair: tuple[Device, Device, SmallDirectory],
) -> None:
    alice, bob, _ = pair
    store, now = bob.context.store, now_ms()
    sender = alice.context.own.address
    kept, old = EnvelopeId("a" * 26), EnvelopeId("b" * 26)
    await store.commit(
        Changes(
            candidates=(
                Candidate(sender, kept, bytes(8), bytes(8), now, now),
                Candidate(sender, old, bytes(8), bytes(8), now - CANDIDATE_LIFETIME_MS - 1, now),
            )
        )
    )
    await bob.running.engine._healing._forget_old()
    assert [one.envelope_id for one in await store.candidates_seen(now + 1, 9)] == [kept]
    broker = bob.running.engine._transport
    assert isinstance(broker, MemoryBroker)
    cleared = (topics.inbox(bob.context.own.address, sender, old), b"")
    while cleared not in broker.published:
        bob.running.check()
        await asyncio.sleep(0.02)


def test_the_lock_file_tells_of_the_last_opening_of_this_very_store(tmp_path: Path) -> None:
    path = tmp_path / "device.db"
    path.write_bytes(bytes(16) + b"rest")
    lease = ConnectionLease(path)
    lease.note_opens(3)
    assert lease.noted_opens() == 0, "without the lease nothing is read or written"
    assert lease.acquire()
    assert lease.noted_opens() == 0
    lease.note_opens(12)
    lease.note_opens(3)
    lease.release()
    again = ConnectionLease(path)
    assert again.acquire()
    assert again.noted_opens() == 3
    path.write_bytes(b"\x01" * 16 + b"a new store at the same place")
    assert again.noted_opens() == 0
    path.write_bytes(bytes(16))
    Path(f"{path}.lock").write_bytes(b"00" * 16 + b" torn")
    assert again.noted_opens() == 0
    again.release()


def test_a_store_in_memory_has_no_file_beside_it() -> None:
    lease = ConnectionLease(None)
    lease.note_opens(3)
    assert lease.noted_opens() == 0


def test_4096_unopened_envelopes_are_remembered_and_one_more_takes_the_oldest_place() -> None:
    alice, bob = make_pair()
    arrived = bob.arrived(alice.address, alice.send(bob))
    many = [arrived._replace(digest=number.to_bytes(32)) for number in range(MAX_REMEMBERED + 1)]
    memory, topic = Unopened(), topics.inbox(*arrived.topic)
    memory.add(many[:-1])
    assert memory.has(topic, many[0].digest)
    memory.add(many[-1:])
    assert len(memory) == MAX_REMEMBERED
    assert not memory.has(topic, many[0].digest)
    memory.forget({alice.address})
    assert len(memory) == 0


async def test_a_damaged_device_list_is_fetched_anew_under_the_pinned_account_key(
    pair: tuple[Device, Device, SmallDirectory],
) -> None:
    alice, bob, _ = pair
    await bob.context.store._execute(  # type: ignore[attr-defined]
        "UPDATE peers SET device_list = x'c1', revision = revision + 1 WHERE user = 'alice'", ()
    )
    assert (await bob.context.peers.load(ALICE)).device_list is None
    await bob.reaches(await bob.send(ALICE, "to the list that was lost"), MessageState.DELIVERED)
    state = await bob.context.peers.load(ALICE)
    assert state.device_list == alice.context.own.record.device_list


@pytest.mark.parametrize("verified", [True, False])
async def test_a_damaged_device_list_is_no_silent_way_to_another_account_key(
    pair: tuple[Device, Device, SmallDirectory], verified: bool
) -> None:
    _, bob, directory = pair
    await bob.context.store._execute(  # type: ignore[attr-defined]
        "UPDATE peers SET device_list = x'c1', verified = ?, revision = revision + 1"
        " WHERE user = 'alice'",
        (verified,),
    )
    directory.register(load_device(make_record("alice")))
    if verified:
        with pytest.raises(IdentityChangedError):
            await bob.context.peers.refresh(ALICE)
        assert (await bob.context.peers.load(ALICE)).device_list is None
    else:
        await bob.context.peers.refresh(ALICE)
    assert IdentityChanged(ALICE, held=verified) in bob.context.events._events
