"""What devices may ask of the directory, and what it gives away."""

import pytest

from client_sdk.core.errors import InvalidSignatureError
from client_sdk.core.signatures import verify_bundle
from client_sdk.entropy import draw_id
from client_sdk.wire import topics
from client_sdk.wire.codec import encode
from client_sdk.wire.directory import (
    CONTACTS_PAGE,
    CONTACTS_REPLY,
    COUNTER_REPLY,
    DEVICE_LIST_REPLY,
    PREKEY_COUNTS,
    Action,
    DeviceListReply,
    FetchBundle,
    FetchContacts,
    FetchDeviceList,
    Relation,
    Status,
)
from client_sdk.wire.errors import MalformedError, ProtocolError
from client_sdk.wire.ids import DeviceAddress, InvitationId, RequestId, UserName
from keydir.commands import revoke
from keydir.errors import RefusedRequestError
from keydir.limits import DEVICE_LIMIT
from keydir.records import Account, Device
from keydir.rules import ANSWER_LIFETIME_MS
from tests.unit.keydir.keydir_parties import DirectoryParty


def test_a_doctor_starts_a_session_with_a_patient_from_one_bundle(
    directory: DirectoryParty,
) -> None:
    doctor = directory.enrolled("dora", "doctor")
    patient = directory.enrolled("pat", "patient", prekeys=2)
    bundle = directory.bundle(doctor, patient)
    verify_bundle(bundle, directory.wall.now)
    assert bundle.address == "pat-1"
    assert bundle.device_list == patient.device_list
    assert bundle.one_time_prekey is not None
    assert not bundle.kem_prekey.last_resort


def test_a25_the_same_request_gets_the_same_bytes_for_ten_minutes(
    directory: DirectoryParty,
) -> None:
    doctor = directory.enrolled("dora", "doctor")
    directory.enrolled("pat", "patient", prekeys=3)
    body = encode(FetchBundle(DeviceAddress("pat-1")))
    request = doctor.request(Action.FETCH_BUNDLE, body)
    first = directory.send(request)[0]
    directory.wall.now += ANSWER_LIFETIME_MS
    assert directory.send(request) == (first,)
    directory.wall.now += 1
    late = doctor.checked(directory.send(request)[0].payload, request)
    assert late.status is Status.STALE_COUNTER
    with directory.store.transaction() as transaction:
        assert transaction.prekeys.counts(DeviceAddress("pat-1")).one_time == 2


def test_other_bytes_under_a_used_request_id_are_dropped(directory: DirectoryParty) -> None:
    doctor = directory.enrolled("dora", "doctor")
    request = doctor.request(Action.CONTACTS, encode(FetchContacts("")))
    directory.send(request)
    other = doctor.sign(request._replace(counter=request.counter + 1))
    with pytest.raises(RefusedRequestError):
        directory.send(other)


def test_a33_an_upload_signed_by_another_device_is_dropped(directory: DirectoryParty) -> None:
    mallory = directory.enrolled("mallory", "patient")
    patient = directory.enrolled("pat", "patient")
    forged = mallory.request(Action.PUBLISH_PREKEYS, encode(mallory.batch(1, 1)), counter=9)
    forged = mallory.sign(forged._replace(device=patient.address))
    with pytest.raises(InvalidSignatureError):
        directory.send(forged)
    with directory.store.transaction() as transaction:
        assert transaction.prekeys.counts(patient.address).one_time == 0


def test_a33_prekeys_signed_by_another_device_are_refused_and_none_is_kept(
    directory: DirectoryParty,
) -> None:
    mallory = directory.enrolled("mallory", "patient")
    patient = directory.enrolled("pat", "patient")
    good, foreign = patient.batch(1, 2), mallory.batch(3, 1)
    for mixed in (
        good._replace(kem_prekeys=(*good.kem_prekeys, *foreign.kem_prekeys)),
        good._replace(signed_prekey=foreign.signed_prekey),
        good._replace(last_resort=foreign.last_resort),
    ):
        reply = directory.ask(patient, Action.PUBLISH_PREKEYS, encode(mixed))
        assert reply.status is Status.BAD_REQUEST
    with directory.store.transaction() as transaction:
        assert transaction.prekeys.counts(patient.address) == (0, 0)


@pytest.mark.parametrize("back", [0, 1])
def test_a33_a_counter_used_before_is_answered_with_the_newest_one(
    directory: DirectoryParty, back: int
) -> None:
    patient = directory.enrolled("pat", "patient")
    patient.counter = 40
    directory.ask(patient, Action.CONTACTS, encode(FetchContacts("")))
    stale = patient.request(Action.CONTACTS, encode(FetchContacts("")), counter=41 - back)
    reply = patient.checked(directory.send(stale)[0].payload, stale)
    assert reply.status is Status.STALE_COUNTER
    assert COUNTER_REPLY.decode(reply.body).last_counter == 41
    fresh = patient.request(Action.CONTACTS, encode(FetchContacts("")), counter=42)
    assert patient.checked(directory.send(fresh)[0].payload, fresh).status is Status.OK


def test_a_request_under_anothers_topic_for_another_directory_or_malformed_is_dropped(
    directory: DirectoryParty,
) -> None:
    patient = directory.enrolled("pat", "patient")
    request = patient.request(Action.CONTACTS, encode(FetchContacts("")))
    payload = encode(request)
    with pytest.raises(RefusedRequestError):
        directory.requests.answer(
            topics.request(DeviceAddress("eve-1"), request.request_id), payload
        )
    with pytest.raises(RefusedRequestError):
        directory.requests.answer(topics.request(patient.address, RequestId(draw_id())), payload)
    elsewhere = patient.sign(request._replace(directory_id=draw_id()))
    with pytest.raises(RefusedRequestError):
        directory.send(elsewhere)
    with pytest.raises(MalformedError):
        directory.requests.answer(topics.request(patient.address, request.request_id), b"junk")


def test_flipping_any_byte_of_a_request_gets_no_answer(directory: DirectoryParty) -> None:
    patient = directory.enrolled("pat", "patient")
    request = patient.request(Action.CONTACTS, encode(FetchContacts("")))
    topic, payload = topics.request(patient.address, request.request_id), encode(request)
    for place in range(len(payload)):
        changed = bytearray(payload)
        changed[place] ^= 1
        with pytest.raises(ProtocolError):
            directory.requests.answer(topic, bytes(changed))
    with directory.store.transaction() as transaction:
        device = transaction.accounts.device(patient.address)
    assert device is not None
    assert device.last_counter == 0


def test_a_malformed_body_is_a_bad_request_and_uses_its_counter(directory: DirectoryParty) -> None:
    patient = directory.enrolled("pat", "patient")
    for action in Action:
        assert directory.ask(patient, action, b"junk").status is Status.BAD_REQUEST
    stale = patient.request(Action.CONTACTS, b"", counter=1)
    reply = patient.checked(directory.send(stale)[0].payload, stale)
    assert reply.status is Status.STALE_COUNTER


def test_a_patient_learns_nothing_about_other_patients_or_unknown_users(
    directory: DirectoryParty,
) -> None:
    patient = directory.enrolled("pat", "patient")
    directory.enrolled("paul", "patient", prekeys=1)
    for user in ("paul", "nobody"):
        answers = (
            directory.ask(
                patient, Action.FETCH_DEVICE_LIST, encode(FetchDeviceList(UserName(user)))
            ),
            directory.ask(
                patient, Action.FETCH_BUNDLE, encode(FetchBundle(DeviceAddress(f"{user}-1")))
            ),
        )
        assert [(one.status, one.body) for one in answers] == [(Status.NOT_CONTACT, b"")] * 2


def test_contacts_are_those_of_the_policy_in_order_and_without_the_revoked(
    directory: DirectoryParty,
) -> None:
    patient = directory.enrolled("pat", "patient")
    for user in ("dora", "adam", "gone"):
        directory.enrolled(user, "doctor")
    directory.enrolled("paul", "patient")
    revoke(directory.settings, "gone")
    reply = directory.ask(patient, Action.CONTACTS, encode(FetchContacts("")))
    contacts = CONTACTS_REPLY.decode(reply.body)
    assert [contact.user for contact in contacts.contacts] == ["adam", "dora"]
    assert not contacts.more
    after = directory.ask(patient, Action.CONTACTS, encode(FetchContacts("adam")))
    assert [one.user for one in CONTACTS_REPLY.decode(after.body).contacts] == ["dora"]


@pytest.mark.parametrize(("doctors", "more"), [(CONTACTS_PAGE, False), (CONTACTS_PAGE + 1, True)])
def test_a_page_of_contacts_is_full_at_its_limit_and_says_when_there_are_more(
    directory: DirectoryParty, doctors: int, more: bool
) -> None:
    patient = directory.enrolled("pat", "patient")
    with directory.store.transaction() as transaction:
        for number in range(doctors):
            user = UserName(f"d{number:03}")
            device = Device(DeviceAddress(f"{user}-1"), user, patient.signing_key)
            transaction.accounts.add(Account(user, "doctor", user, b""), device)
    reply = directory.ask(patient, Action.CONTACTS, encode(FetchContacts("")))
    page = CONTACTS_REPLY.decode(reply.body)
    assert (len(page.contacts), page.more) == (CONTACTS_PAGE, more)


def test_a_device_list_comes_with_relation_role_and_name(directory: DirectoryParty) -> None:
    patient = directory.enrolled("pat", "patient")
    doctor = directory.enrolled("dora", "doctor")
    body = encode(FetchDeviceList(UserName("dora")))
    reply = DEVICE_LIST_REPLY.decode(directory.ask(patient, Action.FETCH_DEVICE_LIST, body).body)
    assert reply == DeviceListReply(doctor.device_list, Relation.CONTACT, "doctor", "dora")


def test_ones_own_account_is_a_contact_but_not_listed(open_directory: DirectoryParty) -> None:
    user = open_directory.enrolled("ann")
    body = encode(FetchDeviceList(UserName("ann")))
    reply = DEVICE_LIST_REPLY.decode(open_directory.ask(user, Action.FETCH_DEVICE_LIST, body).body)
    assert reply.relation is Relation.CONTACT
    listed = open_directory.ask(user, Action.CONTACTS, encode(FetchContacts("")))
    assert CONTACTS_REPLY.decode(listed.body).contacts == ()


def test_under_the_open_policy_others_are_strangers_and_are_not_listed(
    open_directory: DirectoryParty,
) -> None:
    user = open_directory.enrolled("ann")
    open_directory.enrolled("ben", prekeys=1)
    body = encode(FetchDeviceList(UserName("ben")))
    reply = DEVICE_LIST_REPLY.decode(open_directory.ask(user, Action.FETCH_DEVICE_LIST, body).body)
    assert reply.relation is Relation.STRANGER
    listed = open_directory.ask(user, Action.CONTACTS, encode(FetchContacts("")))
    assert CONTACTS_REPLY.decode(listed.body).contacts == ()


def test_a_device_has_120_requests_at_once(directory: DirectoryParty) -> None:
    patient = directory.enrolled("pat", "patient")
    body = encode(FetchContacts(""))
    given = [
        directory.ask(patient, Action.CONTACTS, body).status for _ in range(DEVICE_LIMIT.burst + 1)
    ]
    assert given == [Status.OK] * DEVICE_LIMIT.burst + [Status.RATE_LIMITED]
    directory.wall.now += DEVICE_LIMIT.refill_ms
    assert directory.ask(patient, Action.CONTACTS, body).status is Status.OK


def test_the_first_accepted_request_ends_the_one_time_login(directory: DirectoryParty) -> None:
    patient = directory.enrolled("pat", "patient")
    invitation_id = patient.invitation.invitation_id
    with directory.store.transaction() as transaction:
        assert transaction.invitations.find(invitation_id) is not None
    directory.ask(patient, Action.CONTACTS, encode(FetchContacts("")))
    with directory.store.transaction() as transaction:
        assert transaction.invitations.find(InvitationId(invitation_id)) is None


def test_a_revoked_user_cannot_be_fetched_and_is_told_so_itself(
    directory: DirectoryParty,
) -> None:
    patient = directory.enrolled("pat", "patient", prekeys=1)
    doctor = directory.enrolled("dora", "doctor")
    revoke(directory.settings, "pat")
    body = encode(FetchDeviceList(UserName("pat")))
    assert directory.ask(doctor, Action.FETCH_DEVICE_LIST, body).status is Status.NOT_CONTACT
    assert directory.fetch(doctor, patient).status is Status.NOT_CONTACT
    assert directory.fetch(patient, doctor).status is Status.REVOKED


def test_a_revoked_device_cannot_be_fetched_while_its_user_stays(
    directory: DirectoryParty,
) -> None:
    patient = directory.enrolled("pat", "patient", prekeys=1)
    doctor = directory.enrolled("dora", "doctor")
    revoke(directory.settings, "pat-1")
    assert directory.fetch(doctor, patient).status is Status.NOT_CONTACT


def test_a_full_disk_is_answered_and_the_same_request_works_when_there_is_room(
    directory: DirectoryParty,
) -> None:
    patient = directory.enrolled("pat", "patient", prekeys=1)
    with directory.store.transaction() as transaction:
        # A limit below the size of the file: the file may not grow any more.
        transaction.connection.exec_driver_sql("PRAGMA max_page_count = 1")
    request = patient.request(Action.PUBLISH_PREKEYS, encode(patient.batch(100, 40)))
    full = patient.checked(directory.send(request)[0].payload, request)
    assert full.status is Status.UNAVAILABLE
    with directory.store.transaction() as transaction:
        assert transaction.prekeys.counts(patient.address) == (1, 1)
        transaction.connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    done = patient.checked(directory.send(request)[0].payload, request)
    assert PREKEY_COUNTS.decode(done.body) == (41, 41)
