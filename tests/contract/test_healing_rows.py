"""What every store promises of healing: candidates, resends, paces, and its own age."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from client_sdk.machine.changes import Changes, UserRevision
from client_sdk.machine.rows import (
    Candidate,
    HealingPace,
    OpenedEnvelope,
    OutboxEnvelope,
    PaceKind,
    Peer,
    ResendDue,
)
from client_sdk.stores.healing_rows import COMMIT_OFFSET
from client_sdk.stores.ports import ClientStore
from client_sdk.stores.sqlite import SqliteStore
from client_sdk.wire.ids import DeviceAddress, EnvelopeId, MessageId, UserName

BOB, BOB_1, BOB_2 = UserName("bob"), DeviceAddress("bob-1"), DeviceAddress("bob-2")
ONE, TWO = EnvelopeId("one"), EnvelopeId("two")


@pytest.fixture(params=["memory", "file"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ClientStore]:
    in_memory = request.param == "memory"
    opened = SqliteStore.in_memory() if in_memory else SqliteStore.create(tmp_path / "s.db", None)
    yield opened
    await opened.close()


def lost(envelope_id: EnvelopeId, seen_at: int, asked_at: int | None = None) -> Candidate:
    return Candidate(BOB_1, envelope_id, b"digest00", b"session0", seen_at, asked_at)


async def test_candidates_are_asked_for_once_until_their_time_comes_again(
    store: ClientStore,
) -> None:
    await store.commit(Changes(candidates=(lost(TWO, 2), lost(ONE, 1))))
    assert await store.candidates_to_ask(0) == [lost(ONE, 1), lost(TWO, 2)]
    await store.commit(Changes(candidates=(lost(ONE, 1, asked_at=10),)))
    assert await store.candidates_to_ask(10) == [lost(TWO, 2)]
    assert await store.candidates_to_ask(11) == [lost(ONE, 1, 10), lost(TWO, 2)]
    await store.commit(Changes(candidates=(lost(ONE, 99),)))  # it came again after a restart
    assert await store.candidates_to_ask(10) == [lost(TWO, 2)]
    await store.commit(Changes(ask_again=(BOB_1,)))
    assert len(await store.candidates_to_ask(0)) == 2


async def test_candidates_are_forgotten_when_they_are_settled_or_old(store: ClientStore) -> None:
    await store.commit(Changes(candidates=(lost(ONE, 1), lost(TWO, 2))))
    assert await store.candidates_seen(2, 9) == [lost(ONE, 1)]
    assert len(await store.candidates_seen(9, 1)) == 1
    await store.commit(Changes(candidates_gone=((BOB_1, ONE), (BOB_2, TWO))))
    assert await store.candidates_seen(9, 9) == [lost(TWO, 2)]


async def test_resends_are_due_until_they_are_done(store: ClientStore) -> None:
    due = [ResendDue(BOB_1, ONE, b"digest00", 1), ResendDue(BOB_2, ONE, b"digest00", 0)]
    await store.commit(Changes(resends_due=tuple(due)))
    assert await store.resends_due(9) == due
    assert await store.resends_due(1) == due[:1]
    await store.commit(Changes(resends_done=((BOB_1, ONE),)))
    assert await store.resends_due(9) == due[1:]


async def test_a_pace_is_kept_for_each_device_and_kind(store: ClientStore) -> None:
    ask = HealingPace(BOB_1, PaceKind.ASK, 1, 2, 3, 4)
    await store.commit(Changes(paces=(ask._replace(requests=0), ask)))
    assert await store.pace(BOB_1, PaceKind.ASK) == ask
    assert await store.pace(BOB_1, PaceKind.ANSWER) is None
    assert await store.pace(BOB_2, PaceKind.ASK) is None


async def test_an_envelope_is_found_for_its_own_recipient_with_the_key_it_was_made_for(
    store: ClientStore,
) -> None:
    row = OutboxEnvelope(ONE, BOB_1, BOB, MessageId(bytes(16)), b"sealed", 5, identity_key=b"key")
    await store.commit(Changes(envelopes=(row,)))
    assert await store.find_envelopes(BOB_1, [ONE, TWO]) == {ONE: row}
    assert await store.find_envelopes(BOB_2, [ONE]) == {}


async def test_a_position_is_used_once_an_envelope_was_opened_there(store: ClientStore) -> None:
    opened = OpenedEnvelope(BOB_1, ONE, bytes(32), None, 5, b"position")
    await store.commit(Changes(opened=(opened,)))
    assert await store.is_used(BOB_1, b"position")
    assert not await store.is_used(BOB_2, b"position")
    assert not await store.is_used(BOB_1, b"elsewhre")
    assert await store.find_opened([(BOB_1, ONE)]) == {(BOB_1, ONE): opened}


async def test_the_commit_count_grows_with_every_step_on_a_user(store: ClientStore) -> None:
    counts = [await store.commit_count()]
    for revision in range(3):
        step = Changes(based_on=(UserRevision(BOB, revision),), peers=(Peer(BOB),))
        await store.commit(step)
        counts.append(await store.commit_count())
    assert counts == [0, 1, 2, 3]
    await store.raise_counter(COMMIT_OFFSET, 100)
    assert await store.commit_count() == 103
    assert await store.users() == [BOB]
