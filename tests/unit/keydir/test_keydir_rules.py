"""The directory's decisions, each at its limit and one beyond."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.wire.bundle import MAX_CLOCK_SKEW_MS, MAX_PREKEY_AGE_MS
from client_sdk.wire.directory import Relation
from client_sdk.wire.healing import StoreCounters
from client_sdk.wire.ids import InvitationId, UserName
from client_sdk.wire.limits import MAX_COUNTER
from keydir.errors import RefusedRequestError
from keydir.policy import Policy
from keydir.records import Account, Answer, InvitationRow, PoolCounts
from keydir.rules import (
    LOW_EVENT_INTERVAL_MS,
    LOW_EVENT_REPEAT_MS,
    LOW_POOL,
    POOL_CAP,
    POOL_RESERVE,
    Redemption,
    Verdict,
    check_prekey_batch,
    hands_out_one_time,
    highest_counters,
    judge_redemption,
    judge_request,
    low_event_is_due,
    pool_is_low,
    relation,
    room,
)
from tests.unit.keydir.keydir_parties import DirectoryParty

counters = st.integers(0, MAX_COUNTER)


@given(counters, counters)
def test_a_new_request_is_taken_only_under_a_greater_counter(counter: int, last: int) -> None:
    expected = Verdict.NEW if counter > last else Verdict.STALE
    assert judge_request(counter, b"hash", last, None) is expected


@given(counters, counters, st.binary(), st.binary())
def test_a_kept_answer_decides_whatever_the_counter(
    counter: int, last: int, sent: bytes, kept: bytes
) -> None:
    expected = Verdict.REPEATED if sent == kept else Verdict.CONFLICT
    assert judge_request(counter, sent, last, Answer(kept, b"")) is expected


@pytest.mark.parametrize(
    ("list_hash", "credential", "now", "expected"),
    [
        (b"l", b"c", 99, Redemption.REPEATED),
        (b"x", b"c", 99, Redemption.USED),
        (b"l", b"x", 99, Redemption.USED),
        (b"l", b"c", 100, Redemption.EXPIRED),
    ],
)
def test_a_redeemed_invitation_knows_its_keys_until_it_expires(
    list_hash: bytes, credential: bytes, now: int, expected: Redemption
) -> None:
    row = InvitationRow(InvitationId("i"), UserName("u"), "r", "n", 100, b"l", b"c")
    assert judge_redemption(row, list_hash, credential, now) is expected


def test_a_fresh_invitation_takes_the_first_keys() -> None:
    row = InvitationRow(InvitationId("i"), UserName("u"), "r", "n", 100)
    assert judge_redemption(row, b"l", b"c", 99) is Redemption.FIRST
    assert "c'" not in repr(InvitationRow(InvitationId("i"), UserName("u"), "", "", 1, b"l", b"c'"))


@pytest.mark.parametrize(
    ("what", "left", "expected"),
    [
        (Relation.CONTACT, 0, False),
        (Relation.CONTACT, 1, True),
        (Relation.STRANGER, POOL_RESERVE, False),
        (Relation.STRANGER, POOL_RESERVE + 1, True),
    ],
)
def test_the_last_tenth_of_a_pool_is_for_contacts(
    what: Relation, left: int, expected: bool
) -> None:
    assert hands_out_one_time(what, left) is expected


@pytest.mark.parametrize(
    ("counts", "low"),
    [
        (PoolCounts(LOW_POOL, LOW_POOL), False),
        (PoolCounts(LOW_POOL - 1, LOW_POOL), True),
        (PoolCounts(LOW_POOL, LOW_POOL - 1), True),
    ],
)
def test_a_pool_is_low_below_20(counts: PoolCounts, low: bool) -> None:
    assert pool_is_low(counts) is low


def test_a_pool_has_room_up_to_its_cap() -> None:
    assert [room(left) for left in (0, POOL_CAP - 1, POOL_CAP, POOL_CAP + 1)] == [POOL_CAP, 1, 0, 0]


@pytest.mark.parametrize(
    ("last_event", "last_upload", "now", "due"),
    [
        (None, None, 0, True),
        (100, 100, 99 + LOW_EVENT_INTERVAL_MS, False),
        (100, 100, 100 + LOW_EVENT_INTERVAL_MS, True),
        (100, 99, 100 + LOW_EVENT_INTERVAL_MS, False),
        (100, None, 99 + LOW_EVENT_REPEAT_MS, False),
        (100, None, 100 + LOW_EVENT_REPEAT_MS, True),
    ],
)
def test_a_device_is_told_once_a_minute_and_hourly_where_it_does_not_upload(
    last_event: int | None, last_upload: int | None, now: int, due: bool
) -> None:
    assert low_event_is_due(last_event, last_upload, now) is due


def test_relations_to_unknown_revoked_own_and_other_accounts() -> None:
    policy = Policy(roles=("d", "p"), contacts=(("d", "p"),), open=False)
    doctor = Account(UserName("dora"), "d", "", b"")
    patient = Account(UserName("pat"), "p", "", b"")
    gone = Account(UserName("gone"), "p", "", b"", revoked=True)
    assert relation(policy, doctor, None) is None
    assert relation(policy, doctor, gone) is None
    assert relation(policy, doctor, doctor) is Relation.CONTACT
    assert relation(policy, doctor, patient) is Relation.CONTACT
    assert relation(policy, patient, Account(UserName("paul"), "p", "", b"")) is None


def test_a_batch_with_a_record_in_the_wrong_place_or_time_is_refused(
    directory: DirectoryParty,
) -> None:
    batch = directory.invited("alice", "patient").batch(1, 2)
    assert batch.signed_prekey is not None
    assert batch.last_resort is not None
    now = batch.signed_prekey.signed_at
    check_prekey_batch(batch, now)
    kem = batch.kem_prekeys
    for wrong in (
        batch._replace(last_resort=kem[0]),
        batch._replace(kem_prekeys=(batch.last_resort,)),
        batch._replace(kem_prekeys=(kem[0], kem[0])),
        batch._replace(one_time_prekeys=batch.one_time_prekeys * 2),
    ):
        with pytest.raises(RefusedRequestError):
            check_prekey_batch(wrong, now)


def test_signing_times_may_lie_31_days_back_and_two_days_ahead(directory: DirectoryParty) -> None:
    batch = directory.invited("alice", "patient").batch(1, 1)
    standing = batch._replace(one_time_prekeys=(), kem_prekeys=(), last_resort=None)
    one_time = batch._replace(signed_prekey=None, last_resort=None)
    assert batch.signed_prekey is not None
    signed_at = batch.signed_prekey.signed_at
    oldest = signed_at + MAX_PREKEY_AGE_MS + MAX_CLOCK_SKEW_MS
    check_prekey_batch(standing, oldest)
    check_prekey_batch(one_time, oldest + 1)
    with pytest.raises(RefusedRequestError, match="too long ago"):
        check_prekey_batch(standing, oldest + 1)
    for wrong in (standing, one_time):
        check_prekey_batch(wrong, signed_at - MAX_CLOCK_SKEW_MS)
        with pytest.raises(RefusedRequestError, match="future"):
            check_prekey_batch(wrong, signed_at - MAX_CLOCK_SKEW_MS - 1)


@pytest.mark.parametrize(
    ("reported", "kept"),
    [((4, 99), False), ((5, 50), False), ((5, 49), False), ((5, 51), True), ((6, 1), True)],
)
def test_the_highest_report_of_a_store_is_kept(reported: tuple[int, int], kept: bool) -> None:
    before = StoreCounters(5, 50, bytes(16))
    new = StoreCounters(*reported, b"\x01" * 16)
    assert highest_counters(before, new) is (new if kept else before)
    assert highest_counters(None, new) is new
