"""Token buckets: what a requester gets at once, and what time gives back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keydir import throttle
from keydir.limits import (
    DEVICE_LIMIT,
    ENROLL_LIMIT,
    PAIR_LIMIT,
    REQUESTER_LIMIT,
    TARGET_LIMIT,
    Limit,
    take,
)
from keydir.throttle import Charge, Throttle

LIMITS = (PAIR_LIMIT, REQUESTER_LIMIT, TARGET_LIMIT, DEVICE_LIMIT, ENROLL_LIMIT)
times = st.integers(0, 10**13)


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
