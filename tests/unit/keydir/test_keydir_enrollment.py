"""One invitation makes one account, once, and may be repeated with the same keys."""

import pytest

from client_sdk.core.errors import AuthenticationError
from client_sdk.core.signatures import sign_device_list
from client_sdk.entropy import draw_ed25519, draw_id
from client_sdk.wire import topics
from client_sdk.wire.bundle import NO_PREVIOUS_LIST
from client_sdk.wire.directory import Status
from client_sdk.wire.encoded_keys import AccountKey, Signature
from client_sdk.wire.enrollment import enroll_login_secret
from client_sdk.wire.errors import ProtocolError
from client_sdk.wire.ids import InvitationId, UserName
from client_sdk.wire.invitation import INVITATION_LIFETIME_MS, password_text, secret_hash
from keydir.commands import Invite, invite, revoke
from keydir.errors import RefusedRequestError, UserExistsError
from keydir.limits import ENROLL_LIMIT
from keydir.stores import CredentialReader
from tests.unit.keydir.keydir_parties import DirectoryParty


def test_an_invitation_makes_an_account_and_a_login(directory: DirectoryParty) -> None:
    device = directory.invited("alice", "patient")
    reader = CredentialReader(directory.settings.database_path)
    one_time = f"_enroll-{device.invitation.invitation_id}"
    invitation = device.invitation
    password = password_text(enroll_login_secret(invitation.invitation_id, invitation.password))
    assert reader.secret_hash(one_time) == secret_hash(password)
    assert reader.secret_hash("alice-1") is None
    reply = directory.enroll(device)
    assert reply[3:7] == (Status.OK, "alice-1", "patient", "alice")
    assert reader.secret_hash("alice-1") == secret_hash(device.password)
    assert reader.secret_hash(one_time) is not None
    reader.close()


def test_the_same_keys_get_the_same_answer_and_other_keys_none(directory: DirectoryParty) -> None:
    device = directory.invited("alice", "patient")
    thief = directory.invited("alice", "patient")
    thief = type(thief)(thief.invitation)
    owner = type(thief)(thief.invitation)
    assert directory.enroll(owner).status is Status.OK
    assert directory.enroll(owner).address == "alice-1"
    assert directory.enroll(thief)[3:7] == (Status.INVITATION_USED, "", "", "")
    changed = owner.enroll_request()._replace(credential_hash=b"\x01" * 32)
    assert directory.enroll(owner, changed).status is Status.INVITATION_USED
    with pytest.raises(RefusedRequestError):
        directory.enroll(device)


@pytest.mark.parametrize(("late", "status"), [(-1, Status.OK), (0, Status.INVITATION_EXPIRED)])
def test_an_invitation_ends_after_72_hours(
    directory: DirectoryParty, late: int, status: Status
) -> None:
    device = directory.invited("alice", "patient")
    assert device.invitation.expires_at - directory.wall.now >= INVITATION_LIFETIME_MS
    directory.wall.now = device.invitation.expires_at + late
    reader = CredentialReader(directory.settings.database_path, clock=directory.wall)
    login = reader.secret_hash(f"_enroll-{device.invitation.invitation_id}")
    reader.close()
    assert (login is not None) is (status is Status.OK)
    assert directory.enroll(device).status is status


def test_only_a_first_list_of_the_invited_user_with_good_signatures_is_taken(
    directory: DirectoryParty,
) -> None:
    device = directory.invited("alice", "patient")
    good = device.device_list
    entry = good.devices[0]
    unendorsed = entry._replace(endorsement=Signature(bytes(64)))
    for bad in (
        device.make_list(UserName("mallory")),
        device.make_list(UserName("alice"), version=2),
        device.make_list(UserName("alice"), number=2),
        device.make_list(UserName("alice"), previous_hash=b"\x01" * 32),
        device.make_list(UserName("alice"), manager=False),
        good._replace(devices=()),
        good._replace(devices=(entry, entry)),
        sign_device_list(device.account, good.user, 1, NO_PREVIOUS_LIST, (unendorsed,)),
        good._replace(signature=Signature(bytes(64))),
        good._replace(account_key=AccountKey(draw_ed25519().public)),
        good._replace(account_key=AccountKey(b"\x02" + bytes(32))),
    ):
        reply = directory.enroll(device, device.enroll_request(bad))
        assert reply[3:7] == (Status.BAD_REQUEST, "", "", "")
        directory.wall.now += ENROLL_LIMIT.refill_ms
    assert directory.enroll(device).status is Status.OK


def test_garbage_and_foreign_topics_get_no_answer(directory: DirectoryParty) -> None:
    device = directory.invited("alice", "patient")
    topic, sealed = device.sealed(device.enroll_request())
    with pytest.raises(AuthenticationError):
        directory.enrollment.answer(topics.enroll(InvitationId(draw_id())), sealed)
    for place in range(0, len(sealed), 97):
        changed = bytearray(sealed)
        changed[place] ^= 1
        directory.wall.now += ENROLL_LIMIT.refill_ms
        with pytest.raises(ProtocolError):
            directory.enrollment.answer(topic, bytes(changed))
    lying = device.enroll_request()._replace(invitation_id=InvitationId(draw_id()))
    with pytest.raises(RefusedRequestError):
        directory.enrollment.answer(*device.sealed(lying))


def test_a_broker_cannot_enrol_in_the_place_of_an_invited_user(directory: DirectoryParty) -> None:
    device = directory.invited("alice", "patient")
    invitation = device.invitation
    # All that a broker ever has of an invitation: its id, its login, and the directory's keys.
    login_secret = enroll_login_secret(invitation.invitation_id, invitation.password)
    for guess in (login_secret, secret_hash(password_text(login_secret)), bytes(32)):
        broker = type(device)(invitation._replace(password=guess))
        with pytest.raises(RefusedRequestError, match="without the invitation's password"):
            directory.enroll(broker)
    with directory.store.transaction() as transaction:
        assert transaction.accounts.account(invitation.user) is None
    assert directory.enroll(device).status is Status.OK
    assert directory.enroll(device).status is Status.OK


def test_nobody_without_the_password_learns_what_became_of_an_invitation(
    directory: DirectoryParty,
) -> None:
    device = directory.invited("alice", "patient")
    stranger = type(device)(device.invitation._replace(password=bytes(32)))
    assert directory.enroll(device).status is Status.OK
    with pytest.raises(RefusedRequestError):
        directory.enroll(stranger)
    directory.wall.now = device.invitation.expires_at
    with pytest.raises(RefusedRequestError):
        directory.enroll(stranger)
    assert directory.enroll(device).status is Status.INVITATION_EXPIRED
    with directory.store.transaction() as transaction:
        transaction.logins.remove(f"_enroll-{device.invitation.invitation_id}")
    with pytest.raises(RefusedRequestError):
        directory.enroll(device)
    assert repr(device.invitation.password) not in repr(device.enroll_request())


def test_an_invitation_answers_20_requests_at_once(directory: DirectoryParty) -> None:
    device = directory.invited("alice", "patient")
    for _ in range(ENROLL_LIMIT.burst):
        assert directory.enroll(device).status is Status.OK
    with pytest.raises(RefusedRequestError):
        directory.enroll(device)
    directory.wall.now += ENROLL_LIMIT.refill_ms
    assert directory.enroll(device).status is Status.OK


def test_a_second_invitation_replaces_the_first_and_an_account_is_not_invited_again(
    directory: DirectoryParty,
) -> None:
    first = directory.invited("alice", "patient")
    second = directory.invited("alice", "doctor")
    with pytest.raises(RefusedRequestError):
        directory.enroll(first)
    assert directory.enroll(second).role == "doctor"
    with pytest.raises(UserExistsError):
        invite(directory.settings, Invite("alice", "patient"))


def test_a_revoked_user_cannot_enrol_again_with_the_same_invitation(
    directory: DirectoryParty,
) -> None:
    device = directory.enrolled("alice", "patient")
    revoke(directory.settings, "alice")
    with pytest.raises(RefusedRequestError):
        directory.enroll(device)
