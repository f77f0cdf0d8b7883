"""A manager's side: links of new devices, approving them, removing devices."""

import asyncio
from collections.abc import Callable
from typing import Final

from client_sdk import entropy
from client_sdk.core.device_lists import (
    check_room,
    list_with,
    list_without,
    superseded_list,
)
from client_sdk.core.keys import Ed25519KeyPair
from client_sdk.core.linking import check_join, seal_grant
from client_sdk.delivery.clock import now_ms
from client_sdk.delivery.context import Context
from client_sdk.delivery.errors import LinkRefusedError, StaleListError
from client_sdk.machine.changes import Changes
from client_sdk.machine.device import OwnDevice, encode_device, load_device
from client_sdk.machine.manager_keys import lacks_account_key, other_managers
from client_sdk.wire.bundle import DeviceEntry, DeviceList, device_entry
from client_sdk.wire.enrollment import enroll_login_secret
from client_sdk.wire.ids import DeviceAddress, DeviceNumber, InvitationId, split_address
from client_sdk.wire.invitation import SECRET_BYTES, password_text
from client_sdk.wire.linking import (
    Approval,
    FetchJoin,
    Join,
    LinkCode,
    OpenLink,
    UpdateDevices,
)
from client_sdk.wire.verifier import stored_credential

POLL_SECONDS: Final = 1.0
"""How often a manager asks whether the new device has come; a device may ask once a second."""

TRIES: Final = 3
"""Times that a change of the list is made anew because another manager was quicker."""


async def open_link(context: Context) -> LinkCode:
    """Open a link for one more device; the directory learns the one-time login alone.

    Raises:
        LinkRefusedError: This device is no manager.
        DevicesFullError: No device more fits.
        DirectoryUnavailableError: No answer; nothing was opened.
    """
    await context.peers.refresh(context.own.user)
    own = context.own
    known = own.record.device_list
    _account_of(own)
    check_room(known)
    invitation_id = InvitationId(entropy.draw_id())
    password = entropy.draw_bytes(SECRET_BYTES)
    login = stored_credential(password_text(enroll_login_secret(invitation_id, password)))
    opened = await context.directory.open_link(OpenLink(invitation_id, login))
    invitation = own.record.invitation._replace(
        invitation_id=invitation_id, password=password, expires_at=opened.expires_at
    )
    return LinkCode(
        invitation,
        entropy.draw_bytes(SECRET_BYTES),
        known.account_key,
        DeviceNumber(known.next_number),
    )


async def approve(context: Context, code: LinkCode, *, manager: bool) -> DeviceAddress:
    """Wait for the device with the code, and list it; a repetition after a crash does no harm.

    Args:
        context: This device, connected.
        code: What ``open_link`` gave.
        manager: Whether the device gets the account's key and may change the list, too.

    Raises:
        LinkRefusedError: The code is another user's, or the list has changed since.
        LinkExpiredError: Its time is over.
        AuthenticationError: What came was not sent by a device with the code.
        DirectoryUnavailableError: No answer; call again with the same code.
    """
    if code.invitation.user != context.own.user:
        raise LinkRefusedError("this is a link code of another user; nothing was changed")
    while True:
        come = await context.directory.fetch_join(FetchJoin(code.invitation.invitation_id))
        if come.address:
            await context.peers.refresh(context.own.user)
            return DeviceAddress(come.address)
        if come.join is not None:
            break
        await asyncio.sleep(POLL_SECONDS)
    await context.peers.refresh(context.own.user)
    await _admit(context, code, come.join, manager=manager)
    return code.address


async def remove(context: Context, number: int) -> Ed25519KeyPair | None:
    """Take a device out of one's own list; its login ends with that.

    Where it is a manager the account gets another key, which the old one signs: the removed
    device holds the old one. The other managers get the new one, see ``manager_keys``.

    Returns:
        The new account key, where there is one.

    Raises:
        LinkRefusedError: This device is no manager, or there is no such other device.
        DirectoryUnavailableError: No answer; call again.
    """
    removed = DeviceNumber(number)
    await context.peers.refresh(context.own.user)
    entry = device_entry(context.own.record.device_list, removed)
    if entry is None or number == split_address(context.own.address)[1]:
        raise LinkRefusedError(
            f"{number} is not the number of another device of {context.own.user}; "
            "nothing was changed"
        )
    if not entry.manager:
        await _change(context, lambda own: list_without(_account_of(own), _list(own), removed))
        return None
    _account_of(context.own)
    following = await _next_account(context)
    await _change(
        context,
        lambda own: superseded_list(
            _account_of(own), following, _list(own), _staying(own, removed)
        ),
    )
    context.give_account_key(other_managers(context.own))
    return following


async def _admit(context: Context, code: LinkCode, join: Join, *, manager: bool) -> None:
    entry = check_join(code, join, added_at=now_ms(), manager=manager)

    def sign(own: OwnDevice) -> DeviceList:
        known = _list(own)
        if (known.account_key, known.next_number) != (code.account_key, code.number):
            raise LinkRefusedError(
                "your devices have changed since this code was made; nothing was changed; "
                "make a new code"
            )
        return list_with(_account_of(own), known, entry)

    def approval(own: OwnDevice, following: DeviceList) -> Approval:
        account = _account_of(own) if manager else None
        grant = seal_grant(code, join, following, account)
        return Approval(code.invitation.invitation_id, grant)

    await _change(context, sign, approval)


async def _change(
    context: Context,
    sign: Callable[[OwnDevice], DeviceList],
    approval: Callable[[OwnDevice, DeviceList], Approval] | None = None,
) -> None:
    for tries in range(TRIES):
        own = context.own
        following = sign(own)
        added = None if approval is None else approval(own, following)
        try:
            await context.directory.update_devices(UpdateDevices(following, added))
        except StaleListError:
            if tries == TRIES - 1:
                raise
            await context.peers.refresh(own.user)
            if context.own.record.device_list == own.record.device_list:
                raise  # nobody was quicker: the directory does not take it
        else:
            await context.peers.adopt_own(following)
            return


async def _next_account(context: Context) -> Ed25519KeyPair:
    """Return the account's next key; it is on disk before anybody hears of it."""
    async with context.peers.lock(context.own.user):
        own = context.own
        stored = own.record.next_account_private
        if stored is not None:
            return Ed25519KeyPair.from_private_bytes(stored)
        pair = entropy.draw_ed25519()
        record = own.record._replace(next_account_private=pair.private_bytes())
        await context.store.commit(Changes(device=encode_device(record)))
        context.peers.own = load_device(record)
        return pair


def _staying(own: OwnDevice, removed: DeviceNumber) -> tuple[DeviceEntry, ...]:
    return tuple(entry for entry in _list(own).devices if entry.number != removed)


def _list(own: OwnDevice) -> DeviceList:
    return own.record.device_list


def _account_of(own: OwnDevice) -> Ed25519KeyPair:
    account = own.account
    if lacks_account_key(own):
        raise LinkRefusedError(
            f"the account of {own.user} has another key, and no manager device has given it to "
            f"{own.address} yet; nothing was changed; try again once one was online"
        )
    if account is None:
        raise LinkRefusedError(
            f"{own.address} may not change the devices of {own.user}: it does not have the "
            "account's key; nothing was changed; use a device that is a manager"
        )
    return account
