"""The account's private key among its managers, after another manager was removed.

Who removes a manager draws the account's next key; the list under it names who is a manager. A
manager of that list that lacks the key asks the others, in its pairwise session with each, and one
that has it answers. The list decides alone, so the two cannot contradict each other after a crash.
"""

from dataclasses import replace
from typing import Final

from client_sdk.core.keys import Ed25519KeyPair
from client_sdk.machine.changes import Changes
from client_sdk.machine.control import FreshContent, control_content, seal_for
from client_sdk.machine.device import OwnDevice, encode_device
from client_sdk.machine.received import Opened
from client_sdk.machine.receiving import remembered
from client_sdk.machine.state import PeerState, based_on
from client_sdk.wire.bundle import device_entry
from client_sdk.wire.codec import encode
from client_sdk.wire.content import ContentKind
from client_sdk.wire.errors import MalformedError
from client_sdk.wire.ids import DeviceAddress, device_address, split_address
from client_sdk.wire.manager_keys import (
    ACCOUNT_KEY_GIVEN,
    ACCOUNT_KEY_WANTED,
    AccountKeyGiven,
    AccountKeyWanted,
)

KEY_KINDS: Final = frozenset({ContentKind.ACCOUNT_KEY_WANTED, ContentKind.ACCOUNT_KEY_GIVEN})


def lacks_account_key(own: OwnDevice) -> bool:
    """Tell whether this device may sign the list and does not have the key for that yet."""
    entry = device_entry(own.record.device_list, split_address(own.address)[1])
    return entry is not None and entry.manager and own.account is None


def other_managers(own: OwnDevice) -> tuple[DeviceAddress, ...]:
    """Return the other devices of the user's list that are managers."""
    listed = own.record.device_list.devices
    managers = (device_address(own.user, one.number) for one in listed if one.manager)
    return tuple(one for one in managers if one != own.address)


def may_have_key(own: OwnDevice, device: DeviceAddress) -> bool:
    """Tell whether this device has the account's key, and ``device`` is a manager that may."""
    return own.account is not None and device in other_managers(own)


def plan_key_wanted(
    own: OwnDevice, state: PeerState, device: DeviceAddress, fresh: FreshContent, now: int
) -> tuple[PeerState, Changes]:
    """Ask another manager for the account's private key.

    Raises:
        NoSessionError: There is no session with the device; nothing changed.
    """
    body = encode(AccountKeyWanted(own.record.device_list.account_key))
    content = control_content(own, state, (ContentKind.ACCOUNT_KEY_WANTED, body), fresh, now)
    sealed, envelope = seal_for(state, device, content, fresh.envelope, now)
    return sealed, Changes(based_on=based_on(state), envelopes=(envelope,))


def plan_key_given(
    own: OwnDevice, state: PeerState, device: DeviceAddress, fresh: FreshContent, now: int
) -> tuple[PeerState, Changes]:
    """Give another manager the account's private key; nothing where it may not have it.

    Raises:
        NoSessionError: There is no session with the device; nothing changed.
    """
    if own.account is None or not may_have_key(own, device):
        return state, Changes()
    body = encode(AccountKeyGiven(own.account.private_bytes()))
    content = control_content(own, state, (ContentKind.ACCOUNT_KEY_GIVEN, body), fresh, now)
    sealed, envelope = seal_for(state, device, content, fresh.envelope, now)
    return sealed, Changes(based_on=based_on(state), envelopes=(envelope,))


def plan_key_content(
    own: OwnDevice, state: PeerState, opened: Opened, now: int
) -> tuple[Changes, DeviceAddress | None]:
    """Decide what a request for the key, or the key itself, changes.

    The key is taken where this device is a manager of the newest list it knows, lacks the key,
    and this is the one of that list; it is never kept for a list that may come.

    Args:
        own: This device.
        state: This device's user, after ``open_envelope``.
        opened: A content of ``KEY_KINDS``.
        now: ms since 1970.

    Returns:
        The changes, and the device to give the key to, if there is one.

    Raises:
        ProtocolError: It is not from one's own device, or its body is not what its kind says.
    """
    if not state.is_own:
        raise MalformedError("a content about the account's key is not of another user")
    changes = remembered(state, opened, now)
    content, sender = opened.content, opened.arrived.topic.sender
    if content.kind == ContentKind.ACCOUNT_KEY_WANTED:
        wanted = ACCOUNT_KEY_WANTED.decode(content.body).account_key
        same = wanted == own.record.device_list.account_key
        return changes, sender if same and may_have_key(own, sender) else None
    private = ACCOUNT_KEY_GIVEN.decode(content.body).account_private
    public = Ed25519KeyPair.from_private_bytes(private).public
    if lacks_account_key(own) and bytes(public) == bytes(own.record.device_list.account_key):
        record = own.record._replace(account_private=private)
        changes = replace(changes, device=encode_device(record))
    return changes, None
