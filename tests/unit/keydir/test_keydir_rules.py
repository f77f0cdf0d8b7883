"""The directory's decisions, each at its limit and one beyond."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.wire.bundle import MAX_CLOCK_SKEW_MS, MAX_PREKEY_AGE_MS
from client_sdk.wire.directory import Relation
from client_sdk.wire.healing import StoreCounters
from client_sdk.wire.ids import InvitationId, UserName
from client_sdk.wire.limits import MAX_COUNTER
from keydir import throttle
from keydir.errors import RefusedRequestError
from keydir.limits import (
    DEVICE_LIMIT,
    ENROLL_LIMIT,
    PAIR_LIMIT,
    REQUESTER_LIMIT,
    TARGET_LIMIT,
    Limit,
    take,
)
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
from keydir.throttle import Charge, Throttle
from tests.unit.keydir.keydir_parties import DirectoryParty

LIMITS = (PAIR_LIMIT, REQUESTER_LIMIT, TARGET_LIMIT, DEVICE_LIMIT, ENROLL_LIMIT)
counters = st.integers(0, MAX_COUNTER)
times = st.integers(0, 10**13)


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


@pytest.mark.parametrize("limit", LIMITS)
def test_a_bucket_gives_its_burst_and_then_one_each_refill(limit: Limit) -> None:
    full_at = now = 1_000
    for _ in range(limit.burst):
        full_at, allowed = take(limit, full_at, now)
        assert allowed
    assert take(limit, full_at, now) == (full_at, False)
    assert take(limit, full_at, now + limit.refill_ms - 1) == (full_at, False)
    full_at, allowed = take(limit, full_at, now + limit.refill_ms)
    assert allowed
    assert not take(limit, full_at, now + limit.refill_ms)[1]


@given(
    st.builds(Limit, st.integers(1, 20), st.integers(1, 1000)),
    st.lists(st.integers(0, 3000), max_size=200),
)
def test_no_window_of_time_gives_more_than_burst_and_refill(limit: Limit, waits: list[int]) -> None:
    now, full_at, given_at = 0, 0, []
    for wait in waits:
        now += wait
        full_at, allowed = take(limit, full_at, now)
        if allowed:
            given_at.append(now)
    for index, start in enumerate(given_at):
        for count, end in enumerate(given_at[index:], 1):
            assert count <= limit.burst + (end - start) // limit.refill_ms + 1


@given(times, times)
def test_a_clock_that_goes_back_never_fills_a_bucket(now: int, earlier: int) -> None:
    full_at, _ = take(PAIR_LIMIT, now, now)
    again, allowed = take(PAIR_LIMIT, full_at, min(now, earlier))
    assert again >= full_at
    assert allowed or again == full_at


def test_buckets_are_charged_together_or_not_at_all() -> None:
    buckets = Throttle()
    one, other = Charge(Limit(1, 10), "one"), Charge(Limit(2, 10), "other")
    assert buckets.allow(0, one, other)
    assert not buckets.allow(0, other, one)
    assert buckets.allow(0, other)
    assert not buckets.allow(0, other)


def test_with_too_many_buckets_in_use_requests_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(throttle, "MAX_BUCKETS", 2)
    buckets, limit = Throttle(), Limit(5, 10)
    assert buckets.allow(0, Charge(limit, "a"))
    assert buckets.allow(0, Charge(limit, "b"))
    assert not buckets.allow(0, Charge(limit, "c"))
    assert buckets.allow(10, Charge(limit, "c"))


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
