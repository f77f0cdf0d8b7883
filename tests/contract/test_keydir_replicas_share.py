"""Two replicas of one directory on one database: limits, answers and invitations are shared."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import copytree

import pytest

from client_sdk.wire.codec import encode
from client_sdk.wire.directory import Action, FetchBundle, FetchContacts, Status
from keydir.limits import ENROLL_LIMIT, MINUTE_MS, PAIR_LIMIT, Limit
from keydir.throttle import LARGEST_SKEW_MS, Charge, allow
from tests.unit.keydir.keydir_parties import DeviceParty, DirectoryParty

CONTACTS = encode(FetchContacts(""))


@pytest.fixture
def replicas(tmp_path: Path, database: str) -> Iterator[tuple[DirectoryParty, DirectoryParty]]:
    first = DirectoryParty(tmp_path / "one", database=database)
    copytree(tmp_path / "one", tmp_path / "two")
    second = DirectoryParty(tmp_path / "two", database=database)
    second.wall.now = first.wall.now
    yield first, second
    for one in (first, second):
        one.close()


Replicas = tuple[DirectoryParty, DirectoryParty]


def test_a24_limits_are_counted_over_both_and_survive_a_restart(
    replicas: Replicas, tmp_path: Path, database: str
) -> None:
    patient = replicas[0].enrolled("pat", "patient", prekeys=10)
    doctor = replicas[1].enrolled("dora", "doctor")
    for number in range(PAIR_LIMIT.burst):
        assert replicas[number % 2].fetch(doctor, patient).status is Status.OK
    again = DirectoryParty(tmp_path / "two", database=database)
    again.wall.now = replicas[0].wall.now
    for one in (*replicas, again):
        assert one.fetch(doctor, patient).status is Status.RATE_LIMITED
    again.close()


def test_a25_one_request_to_both_at_once_is_answered_once(replicas: Replicas) -> None:
    patient = replicas[0].enrolled("pat", "patient", prekeys=10)
    doctor = replicas[0].enrolled("dora", "doctor")
    for left in range(9, 3, -1):
        request = doctor.request(Action.FETCH_BUNDLE, encode(FetchBundle(patient.address)))
        with ThreadPoolExecutor(4) as threads:
            sent = [threads.submit(replicas[at % 2].send, request) for at in range(4)]
            replies = {one.result(timeout=60)[0].payload for one in sent}
        assert len(replies) == 1
        assert _left(replicas[1], patient) == (left, left)


def _left(directory: DirectoryParty, device: DeviceParty) -> tuple[int, int]:
    def count() -> tuple[int, int]:
        with directory.store.transaction() as opened:
            return opened.prekeys.counts(device.address)

    return directory.store.submit(count).result(timeout=60)


def test_one_invitation_with_two_keys_to_both_at_once_makes_one_account(
    replicas: Replicas,
) -> None:
    for number in range(5):
        honest = replicas[0].invited(f"u{number}", "patient")
        thief = DeviceParty(honest.invitation)
        with ThreadPoolExecutor(2) as threads:
            sent = [
                threads.submit(one.enroll, device)
                for one, device in zip(replicas, (honest, thief), strict=True)
            ]
            found = sorted(one.result(timeout=60).status for one in sent)
        assert found == sorted([Status.OK, Status.INVITATION_USED])


def test_a_request_that_one_answered_is_stale_or_repeated_at_the_other(
    replicas: Replicas,
) -> None:
    first, second = replicas
    doctor = first.enrolled("dora", "doctor")
    earlier = doctor.request(Action.CONTACTS, CONTACTS)
    later = doctor.request(Action.CONTACTS, CONTACTS)
    answered = first.send(later)
    assert second.send(later) == answered
    (stale,) = second.send(earlier)
    assert doctor.checked(stale.payload, earlier).status is Status.STALE_COUNTER


def test_clocks_that_differ_give_no_more_than_the_limit(replicas: Replicas) -> None:
    patient = replicas[0].enrolled("pat", "patient", prekeys=10)
    doctor = replicas[0].enrolled("dora", "doctor")
    replicas[1].wall.now -= MINUTE_MS
    found = [replicas[number % 2].fetch(doctor, patient).status for number in range(20)]
    assert found.count(Status.OK) == PAIR_LIMIT.burst


@pytest.mark.parametrize("more", [0, 1])
def test_a_bucket_fills_again_after_a_clock_was_set_back(replicas: Replicas, more: int) -> None:
    store, limit = replicas[0].store, Limit(3, 1000)
    before = 10 * LARGEST_SKEW_MS
    back = before - LARGEST_SKEW_MS - more

    def ask(now: int) -> bool:
        def step() -> bool:
            with store.transaction() as opened:
                return allow(opened.buckets, now, Charge(limit, "to alice-1"))

        return store.submit(step).result(timeout=60)

    assert [ask(before) for _ in range(4)] == [True, True, True, False]
    assert not ask(back)
    assert ask(back + limit.refill_ms) is (more == 1)


def test_enrolments_under_one_invitation_are_limited_over_both(replicas: Replicas) -> None:
    device = replicas[0].invited("pat", "patient")
    request = device.enroll_request()
    sealed = device.sealed(request)
    for number in range(ENROLL_LIMIT.burst):
        replicas[number % 2].enroll(device, request)
    for one in replicas:
        answering = one.store.submit(lambda one=one: one.enrollment.answer(*sealed))
        with pytest.raises(Exception, match="too many enrolment requests"):
            answering.result(timeout=60)
