"""What the directory does for a user's own device list: links of new devices, lists that follow."""

from typing import Final

from client_sdk.core.device_lists import verify_follows
from client_sdk.wire.bundle import DEVICE_LIST, DeviceEntry, DeviceList, device_entry
from client_sdk.wire.codec import encode
from client_sdk.wire.directory import Status
from client_sdk.wire.errors import ProtocolError
from client_sdk.wire.ids import (
    ENROLL_LOGIN_PREFIX,
    DeviceNumber,
    InvitationId,
    device_address,
    split_address,
)
from client_sdk.wire.invitation import INVITATION_LIFETIME_MS
from client_sdk.wire.linking import (
    FETCH_JOIN,
    JOIN,
    OPEN_LINK,
    UPDATE_DEVICES,
    Approval,
    Join,
    JoinReply,
    LinkOpened,
)
from keydir.desk import Desk, Outgoing
from keydir.errors import RefusedRequestError
from keydir.outcome import Caller, Outcome
from keydir.ports import Transaction
from keydir.records import Account, Device, LinkRow
from keydir.rules import list_change
from keydir.welcome import Welcome, sealed_welcome

_REFUSED: Final = Outcome(Status.BAD_REQUEST)


class DeviceActions:
    """Every action on one's own list, each inside the caller's transaction; managers only."""

    def __init__(self, desk: Desk) -> None:
        """Use the directory's keys and clocks."""
        self._desk = desk

    def open_link(self, transaction: Transaction, caller: Caller, body: bytes) -> Outcome:
        """Make a one-time login for another device of the caller's account."""
        asked = OPEN_LINK.decode(body)
        caller = _held(transaction, caller)
        if not _is_manager(caller):
            return _REFUSED
        if transaction.invitations.find(asked.invitation_id) is not None:
            return _REFUSED
        known = transaction.links.find(asked.invitation_id)
        if known is not None and known.user != caller.account.user:
            return _REFUSED
        expires_at = self._desk.wall() + INVITATION_LIFETIME_MS
        transaction.links.replace(LinkRow(asked.invitation_id, caller.account.user, expires_at))
        login = ENROLL_LOGIN_PREFIX + asked.invitation_id
        transaction.logins.put(login, asked.login_hash, expires_at)
        return Outcome(Status.OK, encode(LinkOpened(expires_at)))

    def fetch_join(self, transaction: Transaction, caller: Caller, body: bytes) -> Outcome:
        """Tell what has come of a link."""
        link = self._link(transaction, caller, FETCH_JOIN.decode(body).invitation_id)
        if link is None:
            return Outcome(Status.INVITATION_EXPIRED)
        join = None if link.join is None else JOIN.decode(link.join)
        return Outcome(Status.OK, encode(JoinReply(join, link.address)))

    def update_devices(self, transaction: Transaction, caller: Caller, body: bytes) -> Outcome:
        """Take the list that follows the newest one; who is not in it any more is revoked."""
        asked = UPDATE_DEVICES.decode(body)
        caller = _held(transaction, caller)
        known = DEVICE_LIST.decode(caller.account.device_list)
        if asked.device_list == known:
            return Outcome(Status.OK)  # a repetition after its answer was lost
        if not _is_manager(caller):
            return _REFUSED
        try:
            verify_follows(known, asked.device_list)
        except ProtocolError:
            return Outcome(Status.STALE_LIST)
        change = list_change(known, asked.device_list)
        if len(change.added) != (0 if asked.approval is None else 1):
            return _REFUSED
        extra: tuple[Outgoing, ...] = ()
        if asked.approval is not None:
            extra = self._admit(transaction, caller, change.added[0], asked.approval)
        user = caller.account.user
        for number in change.removed:
            address = device_address(user, number)
            transaction.accounts.revoke(user, address, self._desk.wall())
            transaction.logins.remove(address)
        transaction.accounts.put_list(user, asked.device_list.version, encode(asked.device_list))
        return Outcome(Status.OK, extra=extra)

    def _admit(
        self, transaction: Transaction, caller: Caller, entry: DeviceEntry, approval: Approval
    ) -> tuple[Outgoing, ...]:
        link = self._link(transaction, caller, approval.invitation_id)
        if link is None or link.join is None or link.address:
            raise RefusedRequestError("a new device without an open link")
        join = JOIN.decode(link.join)
        if not _is_of(join, entry):
            raise RefusedRequestError("a new device with other keys than it asked with")
        address = device_address(link.user, entry.number)
        device = Device(address, link.user, entry.signing_key, invitation_id=link.invitation_id)
        transaction.accounts.add_device(device)
        transaction.logins.put(address, join.credential_hash, None)
        transaction.links.approve(link.invitation_id, address, approval.grant)
        welcome = joined(caller.account, link)._replace(address=address, grant=approval.grant)
        return (sealed_welcome(self._desk, link.invitation_id, join, welcome),)

    def _link(
        self, transaction: Transaction, caller: Caller, invitation_id: InvitationId
    ) -> LinkRow | None:
        link = transaction.links.find(invitation_id)
        if link is None or link.user != caller.account.user or not _is_manager(caller):
            return None
        return link if link.address or self._desk.wall() < link.expires_at else None


def joined(account: Account, link: LinkRow) -> Welcome:
    """Return what an approved device is told."""
    return Welcome(Status.OK, link.address, account.role, account.name, link.grant)


def _held(transaction: Transaction, caller: Caller) -> Caller:
    """Return the caller with the account as it stays until the end: managers may act at once."""
    account = transaction.accounts.held_account(caller.account.user)
    return caller if account is None else caller._replace(account=account)


def _is_manager(caller: Caller) -> bool:
    device_list: DeviceList = DEVICE_LIST.decode(caller.account.device_list)
    number: DeviceNumber = split_address(caller.device.address)[1]
    entry = device_entry(device_list, number)
    return entry is not None and entry.manager


def _is_of(join: Join, entry: DeviceEntry) -> bool:
    offer = join.offer
    return (offer.signing_key, offer.identity_key, offer.endorsement) == (
        entry.signing_key,
        entry.identity_key,
        entry.endorsement,
    )
