"""An account that exists gets a new device: with its own account key, or with a new one."""

import pytest

from client_sdk.core.keys import Ed25519KeyPair
from client_sdk.core.signatures import sign_device_list
from client_sdk.wire.bundle import NO_PREVIOUS_LIST, DeviceList, device_list_hash
from client_sdk.wire.codec import encode
from client_sdk.wire.directory import Action, FetchDeviceList, Status
from client_sdk.wire.ids import DeviceNumber, UserName, device_address
from client_sdk.wire.invitation import ReturnInvitation, Standing, parse_any_invitation
from client_sdk.wire.limits import MAX_DEVICE_NUMBER
from keydir.commands import Invite, invite, revoke
from keydir.errors import (
    NumbersUsedUpError,
    RefusedRequestError,
    UnknownRoleError,
    UnknownUserError,
    UserExistsError,
)
from keydir.records import Purpose
from keydir.rules import check_return_list, next_device_number
from keydir.stores import CredentialReader
from tests.unit.keydir.keydir_parties import DeviceParty, DirectoryParty

ALICE = UserName("alice")


def invited(
    directory: DirectoryParty, purpose: Purpose, **fields: str
) -> tuple[DeviceParty, ReturnInvitation]:
    wanted = Invite("alice", fields.get("role"), fields.get("name"), purpose=purpose)
    parsed = parse_any_invitation(invite(directory.settings, wanted).invitation)
    assert isinstance(parsed, ReturnInvitation)
    return DeviceParty(parsed.invitation), parsed


def recovering(
    directory: DirectoryParty, lost: DeviceParty, purpose: Purpose = Purpose.RECOVER
) -> DeviceParty:
    device, (_, standing) = invited(directory, purpose)
    return under(device, lost.account, standing.device_list.version + 1, _hash(standing))


def _hash(standing: Standing) -> bytes:
    return device_list_hash(standing.device_list)


def under(
    device: DeviceParty, account: Ed25519KeyPair, version: int, previous: bytes, number: int = 2
) -> DeviceParty:
    device.account = account
    device.address = device_address(ALICE, DeviceNumber(number))
    device.device_list = device.make_list(
        ALICE, version=version, number=number, previous_hash=previous
    )
    return device


def logins(directory: DirectoryParty, *names: str) -> list[bool]:
    reader = CredentialReader(directory.settings.database_path)
    found = [reader.secret_hash(one) is not None for one in names]
    reader.close()
    return found


def newest_list(directory: DirectoryParty, asker: DeviceParty) -> bytes:
    return directory.ask(asker, Action.FETCH_DEVICE_LIST, encode(FetchDeviceList(ALICE))).body


def test_the_invitation_says_where_the_account_stands(directory: DirectoryParty) -> None:
    lost = directory.enrolled("alice", "patient")
    for purpose in (Purpose.RECOVER, Purpose.RESET):
        _, (_, standing) = invited(directory, purpose)
        assert standing == (
            purpose is Purpose.RESET,
            2,
            lost.device_list,
        )


def test_recovery_adds_a_device_under_the_same_account_and_suspends_the_lost_one(
    directory: DirectoryParty,
) -> None:
    lost = directory.enrolled("alice", "patient", prekeys=1)
    doctor = directory.enrolled("bob", "doctor")
    device = recovering(directory, lost)
    assert directory.enroll(device)[3:7] == (Status.OK, "alice-2", "patient", "alice")
    assert directory.enroll(device).address == "alice-2"
    assert logins(directory, "alice-1", "alice-2") == [False, True]
    assert directory.ask(lost, Action.CONTACTS, encode(("",))).status is Status.REVOKED
    assert directory.fetch(doctor, lost).status is Status.NOT_CONTACT
    assert encode(device.device_list) in newest_list(directory, doctor)
    with directory.store.transaction() as transaction:
        assert transaction.accounts.unswept(directory.wall.now) == ["alice-1"]
    assert directory.ask(device, Action.CONTACTS, encode(("",))).status is Status.OK
    with pytest.raises(RefusedRequestError):
        directory.enroll(device)  # the first request ended the invitation


def test_a_reset_takes_a_new_account_key_and_a_new_role_where_one_is_given(
    directory: DirectoryParty,
) -> None:
    lost = directory.enrolled("alice", "patient")
    device, _ = invited(directory, Purpose.RESET, role="doctor", name="Dr. Alice")
    under(device, device.account, 1, NO_PREVIOUS_LIST)
    assert directory.enroll(device)[3:7] == (Status.OK, "alice-2", "doctor", "Dr. Alice")
    assert logins(directory, "alice-1", "alice-2") == [False, True]
    assert device.device_list.account_key != lost.device_list.account_key
    third, (_, standing) = invited(directory, Purpose.RESET)
    assert standing.device_number == 3
    under(third, third.account, 1, NO_PREVIOUS_LIST, 3)
    assert directory.enroll(third)[3:7] == (Status.OK, "alice-3", "doctor", "Dr. Alice")


def test_a_reset_invitation_is_good_for_a_recovery(directory: DirectoryParty) -> None:
    lost = directory.enrolled("alice", "patient")
    assert directory.enroll(recovering(directory, lost, Purpose.RESET)).status is Status.OK


def test_a_recovery_invitation_never_changes_the_account_key(directory: DirectoryParty) -> None:
    directory.enrolled("alice", "patient")
    device, _ = invited(directory, Purpose.RECOVER)
    under(device, device.account, 1, NO_PREVIOUS_LIST)
    assert directory.enroll(device).status is Status.BAD_REQUEST
    assert logins(directory, "alice-1", "alice-2") == [True, False]


def test_a_list_that_does_not_follow_is_refused_and_nothing_is_suspended(
    directory: DirectoryParty,
) -> None:
    lost = directory.enrolled("alice", "patient")
    good = device_list_hash(lost.device_list)
    for version, previous, number in ((3, good, 2), (2, bytes(32), 2), (2, good, 1), (1, good, 2)):
        device = under(
            invited(directory, Purpose.RESET)[0], lost.account, version, previous, number
        )
        assert directory.enroll(device).status is Status.BAD_REQUEST
    assert logins(directory, "alice-1", "alice-2") == [True, False]


def test_a_plain_invitation_made_before_the_account_does_not_take_it_over(
    directory: DirectoryParty,
) -> None:
    early = directory.invited("alice", "patient")
    with directory.store.transaction() as transaction:
        row = transaction.invitations.find(early.invitation.invitation_id)
        assert row is not None
        assert row.purpose is Purpose.NEW
    assert directory.enroll(early).status is Status.OK
    with pytest.raises(UserExistsError, match="--recover"):
        invite(directory.settings, Invite("alice", "patient"))


@pytest.mark.parametrize("purpose", [Purpose.RECOVER, Purpose.RESET])
def test_nobody_without_an_account_comes_back(directory: DirectoryParty, purpose: Purpose) -> None:
    with pytest.raises(UnknownUserError, match=f"without --{purpose}"):
        invite(directory.settings, Invite("alice", "patient", purpose=purpose))
    directory.enrolled("alice", "patient")
    with pytest.raises(UnknownRoleError):
        invite(directory.settings, Invite("alice", "nurse", purpose=purpose))


def test_a_revoked_user_comes_back_only_by_an_invitation_made_afterwards(
    directory: DirectoryParty,
) -> None:
    lost = directory.enrolled("alice", "patient")
    doctor = directory.enrolled("bob", "doctor")
    before = recovering(directory, lost)
    revoke(directory.settings, "alice")
    with pytest.raises(RefusedRequestError):
        directory.enroll(before)
    after = recovering(directory, lost)
    assert directory.enroll(after).status is Status.OK
    assert encode(after.device_list) in newest_list(directory, doctor)


@pytest.mark.parametrize(
    ("used", "number"),
    [((), 1), ((1,), 2), ((1, 2, 5), 6), (range(1, MAX_DEVICE_NUMBER), MAX_DEVICE_NUMBER)],
)
def test_the_next_device_number_was_never_used(used: tuple[int, ...], number: int) -> None:
    assert next_device_number(used) == number


def test_after_127_devices_there_is_no_number_left() -> None:
    with pytest.raises(NumbersUsedUpError):
        next_device_number(range(1, MAX_DEVICE_NUMBER + 1))


def test_a_returning_device_is_one_manager_of_its_own_user() -> None:
    lost = lone_list()
    good = lost.make_list(ALICE, version=2, number=2, previous_hash=device_list_hash(known(lost)))
    check_return_list(good, known(lost), {1}, may_reset=False)
    entry = good.devices[0]
    for bad in (
        good._replace(user=UserName("mallory")),
        good._replace(devices=()),
        good._replace(devices=(entry, entry)),
        good._replace(devices=(entry._replace(manager=False),)),
    ):
        with pytest.raises(RefusedRequestError):
            check_return_list(bad, known(lost), {1}, may_reset=True)
    for numbers in ({1, 2}, {2}):
        with pytest.raises(RefusedRequestError):
            check_return_list(good, known(lost), numbers, may_reset=True)


def lone_list() -> DeviceParty:
    from tests.unit.machine.machine_parties import make_invitation

    return DeviceParty(make_invitation("alice"))


def known(device: DeviceParty) -> DeviceList:
    return sign_device_list(device.account, ALICE, 1, NO_PREVIOUS_LIST, device.device_list.devices)
