"""Accepting a session: under which of a user's account keys both sides have begun it."""

from dataclasses import replace
from typing import Final

from client_sdk.core.errors import AuthenticationError
from client_sdk.core.pqxdh import RemoteDevice
from client_sdk.core.session import Session, accept_session
from client_sdk.core.signatures import account_keys
from client_sdk.machine.device import OwnDevice
from client_sdk.machine.errors import UnknownDeviceError
from client_sdk.machine.received import HandshakeInput
from client_sdk.machine.state import PeerState, remote_device
from client_sdk.wire.ids import DeviceAddress

MAX_TRIED_KEYS: Final = 4
"""Account keys of this user that a handshake may have been made for: each try costs 0.3 ms."""


def begun_session(
    own: OwnDevice, state: PeerState, sender: DeviceAddress, handshake: HandshakeInput
) -> Session:
    """Return the session that ``sender`` began; authenticated only once it has decrypted.

    A message may be under way while either user's account key is superseded: the key that was
    in force in the list which the handshake names counts then.

    Raises:
        UnknownDeviceError: The device, or the list that it names, is not known here.
        ProtocolError: The handshake is not the device's.
    """
    header = handshake.header.handshake
    remote = remote_device(state, sender)
    if state.device_list is None or remote is None:
        raise UnknownDeviceError("the sending device is not in its user's device list")
    if header.sender_list_version > remote.list_version:
        raise UnknownDeviceError("the sending device names a device list that is not known here")
    if header.account_key in account_keys(state.device_list):  # else the handshake is refused
        remote = replace(remote, account_key=header.account_key)
    return _accepted(own, remote, handshake)


def _accepted(own: OwnDevice, remote: RemoteDevice, handshake: HandshakeInput) -> Session:
    known = own.record.device_list
    earlier = handshake.header.handshake.recipient_list_version < known.version
    *others, last = account_keys(known)[: MAX_TRIED_KEYS if earlier else 1]
    for key in others:
        try:
            local = replace(own.local, account_key=key)
            return accept_session(local, remote, handshake.prekeys, handshake.header)
        except AuthenticationError:
            continue
    local = replace(own.local, account_key=last)
    return accept_session(local, remote, handshake.prekeys, handshake.header)
