"""Links of further devices and lists that follow, as the directory handles them."""

from dataclasses import dataclass
from typing import Self

import pytest

from client_sdk.core.device_lists import list_with, list_without
from client_sdk.core.linking import check_join, make_join
from client_sdk.entropy import draw_bytes, draw_id, draw_x25519
from client_sdk.wire.bundle import DeviceList
from client_sdk.wire.codec import encode
from client_sdk.wire.directory import (
    DEVICE_LIST_REPLY,
    Action,
    DeviceListReply,
    FetchDeviceList,
    SignedReply,
    Status,
)
from client_sdk.wire.encoded_keys import AccountKey
from client_sdk.wire.enrollment import EnrollReply, EnrollRequest, enroll_login_secret
from client_sdk.wire.ids import DeviceAddress, DeviceNumber, InvitationId, UserName
from client_sdk.wire.invitation import INVITATION_LIFETIME_MS, password_text, secret_hash
from client_sdk.wire.limits import MAX_EARLIER_LISTS
from client_sdk.wire.linking import (
    JOIN_REPLY,
    LINK_OPENED,
    Approval,
    FetchJoin,
    Join,
    JoinReply,
    LinkCode,
    OpenLink,
    UpdateDevices,
)
from keydir.commands import revoke
from keydir.errors import RefusedRequestError
from keydir.records import Device
from keydir.rules import INACTIVE_AFTER_MS, absent
from keydir.stores import CredentialReader
from tests.unit.keydir.keydir_parties import DeviceParty, DirectoryParty

GRANT = b"sealed for the new device alone"


@dataclass
class NewDevice:
    """A device that has a link code, as an honest client has it."""

    code: LinkCode
    party: DeviceParty
    join: Join

    @classmethod
    def of(cls, owner: DeviceParty, number: int = 2) -> Self:
        invitation = owner.invitation._replace(
            invitation_id=InvitationId(draw_id()), password=draw_bytes(32)
        )
        key = AccountKey(owner.account.public)
        code = LinkCode(invitation, draw_bytes(32), key, DeviceNumber(number))
        party = DeviceParty(invitation)
        party.address = DeviceAddress(f"{invitation.user}-{number}")
        asked = (party.reply_keys.public, secret_hash(party.password), bytes(16))
        return cls(code, party, make_join(code, party.signing, draw_x25519().public, asked))

    @property
    def request(self) -> EnrollRequest:
        join, invitation = self.join, self.code.invitation
        return EnrollRequest(
            invitation.invitation_id,
            invitation.password,
            join.nonce,
            join.offer,
            join.credential_hash,
            join.reply_key,
        )

    @property
    def id(self) -> InvitationId:
        return self.code.invitation.invitation_id


def open_link(directory: DirectoryParty, owner: DeviceParty, new: NewDevice) -> SignedReply:
    login = password_text(enroll_login_secret(new.id, new.code.invitation.password))
    body = encode(OpenLink(new.id, secret_hash(login)))
    return directory.ask(owner, Action.OPEN_LINK, body)


def come(directory: DirectoryParty, new: NewDevice) -> EnrollReply:
    return directory.enroll(new.party, new.request)


def look(directory: DirectoryParty, owner: DeviceParty, new: NewDevice) -> JoinReply:
    reply = directory.ask(owner, Action.FETCH_JOIN, encode(FetchJoin(new.id)))
    assert reply.status is Status.OK
    return JOIN_REPLY.decode(reply.body)


def listed(owner: DeviceParty, new: NewDevice, known: DeviceList | None = None) -> DeviceList:
    entry = check_join(new.code, new.join, added_at=1, manager=False)
    return list_with(owner.account, known or owner.device_list, entry)


def update(
    directory: DirectoryParty,
    owner: DeviceParty,
    device_list: DeviceList,
    approval: Approval | None = None,
) -> Status:
    body = encode(UpdateDevices(device_list, approval))
    return directory.ask(owner, Action.UPDATE_DEVICES, body).status


def linked(directory: DirectoryParty, owner: DeviceParty) -> NewDevice:
    new = NewDevice.of(owner, owner.device_list.next_number)
    assert open_link(directory, owner, new).status is Status.OK
    assert come(directory, new).status is Status.LINK_WAITING
    following = listed(owner, new)
    assert update(directory, owner, following, Approval(new.id, GRANT)) is Status.OK
    owner.device_list = following
    return new


def chain(
    directory: DirectoryParty, user: str, version: int, asker: DeviceParty
) -> DeviceListReply:
    body = encode(FetchDeviceList(UserName(user), version))
    return DEVICE_LIST_REPLY.decode(directory.ask(asker, Action.FETCH_DEVICE_LIST, body).body)


@pytest.fixture
def owner(directory: DirectoryParty) -> DeviceParty:
    return directory.enrolled("alice", "patient")


def test_a_device_comes_waits_and_is_let_in(directory: DirectoryParty, owner: DeviceParty) -> None:
    new = NewDevice.of(owner)
    opened = LINK_OPENED.decode(open_link(directory, owner, new).body)
    assert opened.expires_at == directory.wall.now + INVITATION_LIFETIME_MS
    assert look(directory, owner, new) == JoinReply(None, "")
    for _ in range(2):
        assert come(directory, new)[3:8] == (Status.LINK_WAITING, "", "", "", b"")
    assert look(directory, owner, new) == JoinReply(new.join, "")
    request = owner.request(
        Action.UPDATE_DEVICES, encode(UpdateDevices(listed(owner, new), Approval(new.id, GRANT)))
    )
    reply, told = directory.send(request)
    assert owner.checked(reply.payload, request).status is Status.OK
    welcome = (Status.OK, "alice-2", "patient", "alice", GRANT)
    assert new.party.opened(told.payload, new.request)[3:8] == welcome
    assert come(directory, new)[3:8] == welcome  # the same again, should that have been lost
    assert look(directory, owner, new).address == "alice-2"
    reader = CredentialReader(directory.settings.database_path)
    assert reader.secret_hash("alice-2") == new.join.credential_hash
    assert directory.ask(new.party, Action.CONTACTS, b"\x91\xa0").status is Status.OK
    assert reader.secret_hash(f"_enroll-{new.id}") is None
    reader.close()


def test_the_first_device_with_a_code_is_the_only_one(
    directory: DirectoryParty, owner: DeviceParty
) -> None:
    new = NewDevice.of(owner)
    open_link(directory, owner, new)
    assert come(directory, new).status is Status.LINK_WAITING
    thief = NewDevice.of(owner)
    thief.code = new.code
    thief.party.invitation = new.code.invitation
    assert come(directory, thief).status is Status.INVITATION_USED
    assert look(directory, owner, new).join == new.join
    stranger = new.request._replace(password=bytes(32))
    with pytest.raises(RefusedRequestError):
        directory.enroll(new.party, stranger)


def test_a_link_ends_after_72_hours_or_with_the_next_one(
    directory: DirectoryParty, owner: DeviceParty
) -> None:
    first, second = NewDevice.of(owner), NewDevice.of(owner)
    open_link(directory, owner, first)
    open_link(directory, owner, second)
    with pytest.raises(RefusedRequestError):
        come(directory, first)
    ask = encode(FetchJoin(first.id))
    assert directory.ask(owner, Action.FETCH_JOIN, ask).status is Status.INVITATION_EXPIRED
    directory.wall.now += INVITATION_LIFETIME_MS - 1
    assert come(directory, second).status is Status.LINK_WAITING
    directory.wall.now += 1
    assert come(directory, second).status is Status.INVITATION_EXPIRED
    approval = Approval(second.id, GRANT)
    assert update(directory, owner, listed(owner, second), approval) is Status.BAD_REQUEST


def test_only_a_manager_opens_links_sees_joins_and_changes_the_list(
    directory: DirectoryParty, owner: DeviceParty
) -> None:
    second = linked(directory, owner).party
    third = NewDevice.of(owner, 3)
    assert open_link(directory, second, third).status is Status.BAD_REQUEST
    assert open_link(directory, owner, third).status is Status.OK
    come(directory, third)
    ask = encode(FetchJoin(third.id))
    assert directory.ask(second, Action.FETCH_JOIN, ask).status is Status.INVITATION_EXPIRED
    following = listed(owner, third)
    assert update(directory, second, following, Approval(third.id, GRANT)) is Status.BAD_REQUEST
    mallory = directory.enrolled("mallory", "patient")
    assert directory.ask(mallory, Action.FETCH_JOIN, ask).status is Status.INVITATION_EXPIRED
    taken = NewDevice.of(mallory)
    taken.code = third.code
    assert open_link(directory, mallory, taken).status is Status.BAD_REQUEST
    assert update(directory, mallory, following, Approval(third.id, GRANT)) is Status.STALE_LIST


def test_an_invitations_id_is_no_links(directory: DirectoryParty, owner: DeviceParty) -> None:
    invited = directory.invited("bob", "patient")
    new = NewDevice.of(owner)
    new.code = new.code._replace(invitation=invited.invitation)
    assert open_link(directory, owner, new).status is Status.BAD_REQUEST
    offer = invited.enroll_request()._replace(device_list=new.join.offer)
    assert directory.enroll(invited, offer).status is Status.BAD_REQUEST
    other = NewDevice.of(owner)
    open_link(directory, owner, other)
    founding = other.request._replace(device_list=owner.device_list)
    assert directory.enroll(other.party, founding).status is Status.BAD_REQUEST
    assert directory.enroll(invited).status is Status.OK


def test_a26_a_list_is_taken_only_where_it_follows_and_names_no_device_that_did_not_ask(
    directory: DirectoryParty, owner: DeviceParty
) -> None:
    new = NewDevice.of(owner)
    open_link(directory, owner, new)
    good = listed(owner, new)
    approval = Approval(new.id, GRANT)
    assert update(directory, owner, good, approval) is Status.BAD_REQUEST  # nobody asked yet
    come(directory, new)
    assert update(directory, owner, good) is Status.BAD_REQUEST
    assert update(directory, owner, owner.device_list, approval) is Status.OK  # nothing changed
    stranger = listed(owner, NewDevice.of(owner))
    assert update(directory, owner, stranger, approval) is Status.BAD_REQUEST
    forged = good._replace(signature=owner.device_list.signature)
    assert update(directory, owner, forged, approval) is Status.STALE_LIST
    empty = list_without(owner.account, owner.device_list, DeviceNumber(9))
    assert update(directory, owner, empty, approval) is Status.BAD_REQUEST
    assert update(directory, owner, good, approval) is Status.OK
    assert update(directory, owner, good, approval) is Status.OK  # its answer was lost
    assert chain(directory, "alice", 0, owner).device_list == good


def test_a_removed_device_is_revoked_and_its_number_is_gone(
    directory: DirectoryParty, owner: DeviceParty
) -> None:
    second = linked(directory, owner).party
    removed = list_without(owner.account, owner.device_list, DeviceNumber(2))
    assert update(directory, owner, removed) is Status.OK
    assert directory.ask(second, Action.CONTACTS, b"\x91\xa0").status is Status.REVOKED
    reader = CredentialReader(directory.settings.database_path)
    assert reader.secret_hash("alice-2") is None
    reader.close()
    with directory.store.transaction() as transaction:
        assert transaction.accounts.unswept(0) == ["alice-2"]
    owner.device_list = removed
    assert linked(directory, owner).party.address == "alice-3"


def test_who_was_away_gets_every_list_since_in_pages(
    directory: DirectoryParty, owner: DeviceParty
) -> None:
    doctor = directory.enrolled("dora", "doctor")
    lists = [owner.device_list]
    for _ in range(MAX_EARLIER_LISTS + 2):
        following = list_without(owner.account, lists[-1], DeviceNumber(9))
        assert update(directory, owner, following) is Status.OK
        lists.append(following)
    page = chain(directory, "alice", 1, doctor)
    assert (*page.earlier, page.device_list) == tuple(lists[1 : MAX_EARLIER_LISTS + 2])
    assert page.more
    rest = chain(directory, "alice", page.device_list.version, doctor)
    assert (*rest.earlier, rest.device_list) == tuple(lists[MAX_EARLIER_LISTS + 2 :])
    assert not rest.more
    for known in (0, len(lists), 99):
        newest = chain(directory, "alice", known, doctor)
        assert newest[0] == lists[-1]
        assert newest[4:6] == ((), False)


def test_a_revoked_or_silent_device_is_marked_absent(
    directory: DirectoryParty, owner: DeviceParty
) -> None:
    second, third = linked(directory, owner), linked(directory, owner)
    assert chain(directory, "alice", 0, owner).absent == ()
    batch = encode(third.party.batch(1, 1))
    assert directory.ask(third.party, Action.PUBLISH_PREKEYS, batch).status is Status.OK
    directory.wall.now += INACTIVE_AFTER_MS
    assert chain(directory, "alice", 0, owner).absent == ()
    directory.wall.now += 1
    revoke(directory.settings, second.party.address)
    assert chain(directory, "alice", 0, owner).absent == (2, 3)
    unknown = absent(owner.device_list, [], 0)
    assert unknown == (1, 2, 3)
    seen = [Device(DeviceAddress("alice-1"), UserName("alice"), owner.signing_key)]
    assert absent(owner.device_list, seen, 0) == (2, 3)


def test_revoking_a_user_withdraws_the_links(directory: DirectoryParty, owner: DeviceParty) -> None:
    new = NewDevice.of(owner)
    open_link(directory, owner, new)
    revoke(directory.settings, "alice")
    with pytest.raises(RefusedRequestError):
        come(directory, new)


def test_a_join_of_a_revoked_user_gets_nothing(
    directory: DirectoryParty, owner: DeviceParty
) -> None:
    new = NewDevice.of(owner)
    open_link(directory, owner, new)
    with directory.store.transaction() as transaction:
        transaction.accounts.revoke(UserName("alice"), None, 1)
    assert come(directory, new).status is Status.BAD_REQUEST


def test_an_action_that_nobody_knows_is_refused(
    directory: DirectoryParty, owner: DeviceParty
) -> None:
    assert directory.ask(owner, Action(Action.CONTACTS)).status is Status.BAD_REQUEST
    request = owner.sign(owner.request(Action.CONTACTS)._replace(action=7))
    (answer,) = directory.send(request)
    assert owner.checked(answer.payload, request).status is Status.BAD_REQUEST
