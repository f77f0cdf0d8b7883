"""How a device joins: a new account, or one that lost its devices."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from client_sdk.core.recovery_code import decode_recovery_code, encode_recovery_code
from client_sdk.core.signatures import verify_device_list
from client_sdk.delivery.broker import BrokerUrls, urls_of
from client_sdk.delivery.enrollment import begin, finish, stage_of
from client_sdk.delivery.errors import (
    InvitationRefusedError,
    InvitationUsedError,
    WrongInvitationError,
    WrongRecoveryCodeError,
)
from client_sdk.delivery.linking import link_device
from client_sdk.handles import Enrolled
from client_sdk.machine.device import FIRST_PLACE, DeviceRecord, ListPlace, Stage, load_device
from client_sdk.stores.ports import ClientStore
from client_sdk.stores.sqlite import SqliteStore, has_key, remove_store, store_exists
from client_sdk.transport.errors import BrokerNotTrustedError, BrokerUnreachableError
from client_sdk.transport.urls import usable_urls
from client_sdk.wire.bundle import NO_PREVIOUS_LIST, DeviceList, device_list_hash
from client_sdk.wire.encoded_keys import AccountKey
from client_sdk.wire.errors import InvalidInvitationError, MisuseError, ProtocolError
from client_sdk.wire.invitation import Invitation, ReturnInvitation, parse_any_invitation
from client_sdk.wire.linking import LinkCode, is_link_code, parse_link_code

Begin = Callable[[ClientStore], Awaitable[DeviceRecord]]


async def enroll(
    invitation: str, store: Path, passphrase: str | None, broker_url: BrokerUrls
) -> Enrolled:
    """Redeem an invitation under a new account key, or a link code; see ``Messenger.enroll``."""
    _need_text(invitation, "the invitation")
    if is_link_code(invitation):
        return await _link(parse_link_code(invitation), store, passphrase, broker_url)
    parsed = parse_any_invitation(invitation)
    if not isinstance(parsed, ReturnInvitation):
        plain, place = parsed, FIRST_PLACE
    elif parsed.standing.may_reset:
        plain = parsed.invitation
        place = ListPlace(parsed.standing.device_number, 1, NO_PREVIOUS_LIST)
    else:
        raise WrongInvitationError(
            f"this invitation brings {parsed.invitation.user} back with the recovery code: use "
            "recover; nothing was stored"
        )
    return await _join(
        store, passphrase, _urls(plain, broker_url), lambda s: begin(s, plain, place)
    )


async def _link(
    code: LinkCode, store: Path, passphrase: str | None, broker_url: BrokerUrls
) -> Enrolled:
    urls = _urls(code.invitation, broker_url)
    linked = await _join(store, passphrase, urls, lambda opened: link_device(opened, code, urls))
    # The recovery code of an account is shown where the account is made.
    return Enrolled(linked.address, None)


async def recover(
    invitation: str,
    store: Path,
    recovery_code: str,
    passphrase: str | None,
    broker_url: BrokerUrls,
) -> Enrolled:
    """Redeem an invitation under the account key in a recovery code, see ``Messenger.recover``."""
    _need_text(invitation, "the invitation")
    _need_text(recovery_code, "the recovery code")
    parsed = parse_any_invitation(invitation)
    if not isinstance(parsed, ReturnInvitation):
        raise WrongInvitationError(
            f"this invitation is for a new account of {parsed.user}: use enroll, or ask for one "
            "that recovers; nothing was stored"
        )
    plain, standing = parsed
    known = standing.device_list
    account = decode_recovery_code(recovery_code)
    if AccountKey(account.public) != known.account_key:
        raise WrongRecoveryCodeError(
            f"this is not the recovery code of {plain.user}'s account; nothing was changed; look "
            "for the one that was shown last"
        )
    _check_own_list(known, plain)
    place = ListPlace(
        standing.device_number, known.version + 1, device_list_hash(known), known.superseded
    )
    return await _join(
        store, passphrase, _urls(plain, broker_url), lambda s: begin(s, plain, place, account)
    )


def _need_text(given: object, what: str) -> None:
    if not isinstance(given, str):
        raise MisuseError(f"{what} is not str but {type(given).__name__}; nothing was stored")


def _check_own_list(known: DeviceList, invitation: Invitation) -> None:
    try:
        verify_device_list(known)
    except ProtocolError as error:
        raise InvalidInvitationError(
            f"the invitation shows a device list that {invitation.user} has not signed; nothing "
            "was stored; tell the operator"
        ) from error


def _urls(invitation: Invitation, broker_url: BrokerUrls) -> tuple[str, ...]:
    return usable_urls(
        urls_of(invitation, broker_url), pinned=invitation.ca_fingerprint is not None
    )


async def _join(
    path: Path, passphrase: str | None, urls: tuple[str, ...], start: Begin
) -> Enrolled:
    existed, had_key = store_exists(path), has_key(path)
    opened = (SqliteStore.open if existed else SqliteStore.create)(path, passphrase)
    try:
        record = await finish(opened, await start(opened), urls)
    except (
        InvitationRefusedError,
        InvitationUsedError,
        BrokerUnreachableError,
        BrokerNotTrustedError,
    ):
        redeemed = await stage_of(opened) != Stage.KEYS_MADE
        await opened.close()
        if not existed and not redeemed:  # the directory has not taken these keys
            remove_store(path, with_key=not had_key)
        raise
    finally:
        await opened.close()
    account = load_device(record).account
    return Enrolled(record.address, None if account is None else encode_recovery_code(account))
