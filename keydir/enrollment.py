"""Enrolment: an invitation and a new device's keys become an account, in one transaction."""

import hashlib
import hmac

from client_sdk.core.signatures import verify_device_list, verify_endorsements
from client_sdk.wire import topics
from client_sdk.wire.bundle import DEVICE_LIST, DeviceList
from client_sdk.wire.codec import encode
from client_sdk.wire.directory import Status
from client_sdk.wire.enrollment import (
    ENROLL_REQUEST,
    EnrollRequest,
    enroll_info,
    enroll_login_secret,
)
from client_sdk.wire.errors import ProtocolError
from client_sdk.wire.ids import (
    ENROLL_LOGIN_PREFIX,
    DeviceNumber,
    UserName,
    device_address,
    split_address,
)
from client_sdk.wire.invitation import password_text, secret_hash
from client_sdk.wire.linking import DeviceOffer, Join
from client_sdk.wire.verifier import split_credential
from keydir.desk import Desk, Outgoing
from keydir.device_actions import joined
from keydir.errors import RefusedRequestError
from keydir.limits import ENROLL_LIMIT
from keydir.ports import Transaction
from keydir.records import Account, Device, InvitationRow, LinkRow, Purpose
from keydir.rules import Redemption, check_first_list, check_return_list, judge_redemption
from keydir.throttle import Charge, allow
from keydir.welcome import Welcome, sealed_welcome


class Enrollment:
    """Answers enrolment requests; the same keys get the same answer again."""

    def __init__(self, desk: Desk) -> None:
        """Use the directory's keys and store."""
        self._desk = desk

    def answer(self, topic: str, payload: bytes) -> tuple[Outgoing, ...]:
        """Return the sealed reply to one enrolment request; all is committed.

        Raises:
            ProtocolError: It does not open, is malformed, its invitation is unknown, or its
                password is not the invitation's; nothing was changed.
            DirectoryStoreError: The store failed; nothing was changed.
        """
        invitation_id = topics.parse_enroll(topic)
        charge = Charge(ENROLL_LIMIT, f"enroll {invitation_id}")
        with self._desk.store.transaction() as transaction:  # kept, whatever comes of the rest
            allowed = allow(transaction.buckets, self._desk.wall(), charge)
        if not allowed:
            raise RefusedRequestError("too many enrolment requests for one invitation")
        keys = self._desk.keys
        opened = keys.sealing.open(payload, enroll_info(keys.directory_id, invitation_id))
        request = ENROLL_REQUEST.decode(opened)
        if request.invitation_id != invitation_id:
            raise RefusedRequestError("an enrolment under another invitation's topic")
        with self._desk.store.transaction() as transaction:
            welcome = self._redeem(transaction, request)
        return (sealed_welcome(self._desk, invitation_id, request, welcome),)

    def _redeem(self, transaction: Transaction, request: EnrollRequest) -> Welcome:
        invitation = transaction.invitations.find(request.invitation_id)
        link = transaction.links.find(request.invitation_id)
        if invitation is None and link is None:
            raise RefusedRequestError("an unknown invitation")
        _check_password(transaction, request)
        if isinstance(request.device_list, DeviceOffer):
            return self._join(transaction, link, request, request.device_list)
        if invitation is None:
            return Welcome(Status.BAD_REQUEST)
        return self._found(transaction, invitation, request, request.device_list)

    def _join(
        self,
        transaction: Transaction,
        link: LinkRow | None,
        request: EnrollRequest,
        offer: DeviceOffer,
    ) -> Welcome:
        """Keep a new device's request for the manager, or tell what became of it."""
        account = None if link is None else transaction.accounts.account(link.user)
        if link is None or account is None or account.revoked:
            return Welcome(Status.BAD_REQUEST)
        if not link.address and self._desk.wall() >= link.expires_at:
            return Welcome(Status.INVITATION_EXPIRED)
        join = encode(Join(offer, request.reply_key, request.credential_hash, request.nonce))
        if link.join is None:
            transaction.links.join(link.invitation_id, join)
        elif link.join != join:
            return Welcome(Status.INVITATION_USED)
        return joined(account, link) if link.address else Welcome(Status.LINK_WAITING)

    def _found(
        self,
        transaction: Transaction,
        invitation: InvitationRow,
        request: EnrollRequest,
        device_list: DeviceList,
    ) -> Welcome:
        """Make the account of an invited user, or tell again that it was made."""
        list_hash = hashlib.sha256(encode(device_list)).digest()
        credential_hash, _ = split_credential(request.credential_hash)
        redemption = judge_redemption(invitation, list_hash, credential_hash, self._desk.wall())
        if redemption is Redemption.EXPIRED:
            return Welcome(Status.INVITATION_EXPIRED)
        if redemption is Redemption.USED:
            return Welcome(Status.INVITATION_USED)
        if redemption is Redemption.FIRST:
            earlier = transaction.accounts.held_account(invitation.user)
            if (earlier is None) is not (invitation.purpose is Purpose.NEW):
                return Welcome(Status.INVITATION_USED)
            try:
                _check_list(transaction, invitation, device_list, earlier)
            except ProtocolError:
                return Welcome(Status.BAD_REQUEST)
            self._write_account(transaction, invitation, device_list, request.credential_hash)
            transaction.invitations.redeem(invitation.invitation_id, list_hash, credential_hash)
        address = device_address(invitation.user, device_list.devices[0].number)
        return Welcome(Status.OK, address, invitation.role, invitation.name)

    def _write_account(
        self,
        transaction: Transaction,
        invitation: InvitationRow,
        device_list: DeviceList,
        credential: bytes,
    ) -> None:
        user, entry = invitation.user, device_list.devices[0]
        address = device_address(user, entry.number)
        account = Account(user, invitation.role, invitation.name, encode(device_list))
        device = Device(address, user, entry.signing_key, invitation_id=invitation.invitation_id)
        if invitation.purpose is Purpose.NEW:
            transaction.accounts.add(account, device)
        else:
            for lost in transaction.accounts.addresses(user):
                transaction.logins.remove(lost)
            transaction.links.withdraw(user)
            now = self._desk.wall()
            transaction.accounts.replace_devices(account, device, device_list.version, now)
        transaction.logins.put(address, credential, None)


def _check_password(transaction: Transaction, request: EnrollRequest) -> None:
    # The one-time login lives exactly as long as its invitation, also for a resumed enrolment.
    stored = transaction.logins.secret_hash(ENROLL_LOGIN_PREFIX + request.invitation_id)
    shown = secret_hash(password_text(enroll_login_secret(request.invitation_id, request.password)))
    if stored is None or not hmac.compare_digest(stored, shown):
        raise RefusedRequestError("an enrolment without the invitation's password")


def _check_list(
    transaction: Transaction,
    invitation: InvitationRow,
    device_list: DeviceList,
    earlier: Account | None,
) -> None:
    if earlier is None:
        check_first_list(device_list, invitation.user)
    else:
        check_return_list(
            device_list,
            DEVICE_LIST.decode(earlier.device_list),
            used_numbers(transaction, invitation.user),
            may_reset=invitation.purpose is Purpose.RESET,
        )
    verify_device_list(device_list)
    verify_endorsements(device_list)


def used_numbers(transaction: Transaction, user: UserName) -> frozenset[DeviceNumber]:
    """Return every device number that a user ever had."""
    return frozenset(split_address(one)[1] for one in transaction.accounts.addresses(user))
