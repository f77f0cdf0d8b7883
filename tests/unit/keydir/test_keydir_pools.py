"""Pools of prekeys: what one requester gets, what is left, and what an upload may bring."""

import pytest

from client_sdk.wire import topics
from client_sdk.wire.bundle import MAX_CLOCK_SKEW_MS, MAX_PREKEY_AGE_MS
from client_sdk.wire.codec import encode
from client_sdk.wire.directory import (
    DIRECTORY_EVENT,
    PREKEY_COUNTS,
    Action,
    FetchBundle,
    Status,
    event_bytes,
)
from client_sdk.wire.ids import DeviceAddress, UserName
from keydir.limits import PAIR_LIMIT, REQUESTER_LIMIT, TARGET_LIMIT
from keydir.records import Account, Device
from keydir.rules import LOW_EVENT_INTERVAL_MS, LOW_POOL, POOL_CAP, POOL_RESERVE
from tests.unit.keydir.keydir_parties import DeviceParty, DirectoryParty


def test_a25_every_one_time_prekey_is_handed_out_once_and_then_the_last_resort(
    directory: DirectoryParty,
) -> None:
    patient = directory.enrolled("pat", "patient", prekeys=3)
    doctors = [directory.enrolled(f"dora{number}", "doctor") for number in range(5)]
    bundles = [directory.bundle(doctor, patient) for doctor in doctors]
    one_time = [one.one_time_prekey.id for one in bundles if one.one_time_prekey is not None]
    kem = [one.kem_prekey.id for one in bundles if not one.kem_prekey.last_resort]
    assert (one_time, kem) == ([1, 2, 3], [1, 2, 3])
    assert all(one.kem_prekey.last_resort for one in bundles[3:])


def test_a24_one_account_cannot_empty_a_pool(directory: DirectoryParty) -> None:
    patient = directory.enrolled("pat", "patient", prekeys=40)
    doctor = directory.enrolled("dora", "doctor")
    given = [directory.fetch(doctor, patient).status for _ in range(PAIR_LIMIT.burst + 20)]
    assert given == [Status.OK] * PAIR_LIMIT.burst + [Status.RATE_LIMITED] * 20
    directory.wall.now += PAIR_LIMIT.refill_ms - 1
    assert directory.fetch(doctor, patient).status is Status.RATE_LIMITED
    directory.wall.now += 1
    assert directory.fetch(doctor, patient).status is Status.OK
    assert directory.fetch(doctor, patient).status is Status.RATE_LIMITED


def test_a24_a_requester_has_60_bundles_at_once_whoever_is_asked_for(
    directory: DirectoryParty,
) -> None:
    doctor = directory.enrolled("dora", "doctor")
    body = encode(FetchBundle(DeviceAddress("nobody-1")))
    given = [
        directory.ask(doctor, Action.FETCH_BUNDLE, body).status
        for _ in range(REQUESTER_LIMIT.burst + 1)
    ]
    assert given == [Status.NOT_CONTACT] * REQUESTER_LIMIT.burst + [Status.RATE_LIMITED]


def test_a24_a_target_gives_600_bundles_at_once_whoever_asks(directory: DirectoryParty) -> None:
    patient = directory.enrolled("pat", "patient", prekeys=1)
    needed = TARGET_LIMIT.burst // PAIR_LIMIT.burst
    doctor = directory.enrolled("dora", "doctor")
    for number in range(needed):
        doctor_like = _clone(directory, doctor, f"d{number}")
        for _ in range(PAIR_LIMIT.burst):
            assert directory.fetch(doctor_like, patient).status is Status.OK
    assert directory.fetch(doctor, patient).status is Status.RATE_LIMITED


def test_a24_fifty_strangers_leave_a_tenth_of_the_pool_to_contacts(
    open_directory: DirectoryParty,
) -> None:
    victim = open_directory.enrolled("victim", prekeys=40)
    first = open_directory.enrolled("s0")
    bundles = []
    for number in range(50):
        stranger = _clone(open_directory, first, f"x{number}")
        bundles.append(open_directory.bundle(stranger, victim))
    given = [one for one in bundles if one.one_time_prekey is not None]
    assert len(given) == 40 - POOL_RESERVE
    assert all(one.kem_prekey.last_resort for one in bundles[40 - POOL_RESERVE :])
    own = open_directory.bundle(victim, victim)
    assert own.one_time_prekey is not None


def test_a24_a_device_is_told_of_a_low_pool_at_most_once_a_minute(
    directory: DirectoryParty,
) -> None:
    patient = directory.enrolled("pat", "patient", prekeys=LOW_POOL)
    doctor = directory.enrolled("dora", "doctor")
    events = []
    for number in range(8):
        asking = _clone(directory, doctor, f"d{number}")
        body = encode(FetchBundle(patient.address))
        events += directory.send(asking.request(Action.FETCH_BUNDLE, body))[1:]
        if number == 3:
            upload = encode(patient.batch(100, 1))
            directory.wall.now += 1
            directory.ask(patient, Action.PUBLISH_PREKEYS, upload)
        if number == 6:
            directory.wall.now += LOW_EVENT_INTERVAL_MS
    assert len(events) == 2
    event = DIRECTORY_EVENT.decode(events[0].payload)
    assert events[0].topic == topics.event(patient.address, event.event_id)
    assert events[0].retain
    directory.desk.keys.signing.private.public_key().verify(event.signature, event_bytes(event))


def test_a_pool_of_20_is_not_low(directory: DirectoryParty) -> None:
    patient = directory.enrolled("pat", "patient", prekeys=LOW_POOL + 1)
    doctor = directory.enrolled("dora", "doctor")
    body = encode(FetchBundle(patient.address))
    assert len(directory.send(doctor.request(Action.FETCH_BUNDLE, body))) == 1
    assert len(directory.send(doctor.request(Action.FETCH_BUNDLE, body))) == 2


def test_a_device_without_published_prekeys_is_unavailable_and_loses_no_key(
    directory: DirectoryParty,
) -> None:
    patient = directory.enrolled("pat", "patient")
    doctor = directory.enrolled("dora", "doctor")
    upload = encode(patient.batch(1, 2, standing=False))
    counts = directory.ask(patient, Action.PUBLISH_PREKEYS, upload)
    assert PREKEY_COUNTS.decode(counts.body) == (2, 2)
    assert directory.fetch(doctor, patient).status is Status.UNAVAILABLE
    with directory.store.transaction() as transaction:
        assert transaction.prekeys.counts(patient.address) == (2, 2)


def test_uploads_may_repeat_and_a_spent_id_never_comes_back(directory: DirectoryParty) -> None:
    patient = directory.enrolled("pat", "patient", prekeys=3)
    doctor = directory.enrolled("dora", "doctor")
    directory.bundle(doctor, patient)
    again = directory.ask(patient, Action.PUBLISH_PREKEYS, encode(patient.batch(1, 3)))
    assert PREKEY_COUNTS.decode(again.body) == (2, 2)


def test_a_pool_takes_200_keys_and_not_one_more(directory: DirectoryParty) -> None:
    patient = directory.enrolled("pat", "patient", prekeys=POOL_CAP)
    more = directory.ask(patient, Action.PUBLISH_PREKEYS, encode(patient.batch(1000, 1)))
    assert PREKEY_COUNTS.decode(more.body) == (POOL_CAP, POOL_CAP)


def test_the_freshest_signed_prekey_is_handed_out(directory: DirectoryParty) -> None:
    patient = directory.enrolled("pat", "patient")
    doctor = directory.enrolled("dora", "doctor")
    old, new = patient.batch(1, 0), patient.batch(1, 0)
    assert old.signed_prekey is not None
    assert new.signed_prekey is not None
    if old.signed_prekey.signed_at == new.signed_prekey.signed_at:
        new = patient.batch(1, 0)
    for batch in (new, old):
        directory.ask(patient, Action.PUBLISH_PREKEYS, encode(batch))
    assert directory.bundle(doctor, patient).signed_prekey == new.signed_prekey


@pytest.mark.parametrize(("moved", "status"), [(0, Status.OK), (1, Status.BAD_REQUEST)])
def test_a_prekey_signed_too_long_ago_is_refused(
    directory: DirectoryParty, moved: int, status: Status
) -> None:
    patient = directory.enrolled("pat", "patient")
    batch = patient.batch(1, 0)
    assert batch.signed_prekey is not None
    batch = batch._replace(last_resort=None)
    signed_at = batch.signed_prekey.signed_at if batch.signed_prekey else 0
    directory.wall.now = signed_at + MAX_PREKEY_AGE_MS + MAX_CLOCK_SKEW_MS + moved
    assert directory.ask(patient, Action.PUBLISH_PREKEYS, encode(batch)).status is status


def _clone(directory: DirectoryParty, like: DeviceParty, user: str) -> DeviceParty:
    """Return a second account of the same role without the cost of an enrolment."""
    clone = DeviceParty(like.invitation._replace(user=UserName(user)))
    with directory.store.transaction() as transaction:
        account = transaction.accounts.account(like.invitation.user)
        assert account is not None
        transaction.accounts.add(
            Account(clone.invitation.user, account.role, user, encode(clone.device_list)),
            Device(clone.address, clone.invitation.user, clone.signing_key),
        )
    return clone
