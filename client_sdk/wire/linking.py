"""Linking a device: the code that a person carries over, and what passes through the directory.

A device of the user that may sign device lists (a manager) shows the code; the new device takes
it. The code's secret never reaches directory or broker: both sides prove with it that they hold
the same code.
"""

import base64
import hashlib
from typing import Annotated, Final, NamedTuple

from pydantic import Field

from client_sdk.wire.bundle import DeviceList, SignatureIn
from client_sdk.wire.codec import Codec, encode
from client_sdk.wire.content import Counter
from client_sdk.wire.encoded_keys import (
    AccountKey,
    Ed25519Field,
    IdentityKey,
    SigningKey,
    X25519Field,
)
from client_sdk.wire.errors import InvalidInvitationError, ProtocolError
from client_sdk.wire.ids import DeviceAddress, DeviceNumber, device_address
from client_sdk.wire.invitation import HpkePublicKey, Invitation, InvitationIdField, Secret
from client_sdk.wire.limits import (
    KIB,
    MAX_DEVICE_NUMBER,
    MAX_DIRECTORY_BYTES,
    MAX_INVITATION_CHARACTERS,
)
from client_sdk.wire.verifier import CredentialField

LINK_PREFIX: Final = "rmqlink1."
MAX_GRANT_BYTES: Final = 16 * KIB
"""A sealed grant: a device list of under 6 KiB, one private key, and what sealing adds."""

LINK_OFFER_CONTEXT: Final = "RatchetMQ/1 link offer"
LINK_GRANT_CONTEXT: Final = "RatchetMQ/1 link grant"
SEALED_GRANT_CONTEXT: Final = "RatchetMQ/1 sealed link grant"
_CHECKSUM_BYTES: Final = 4
_DAMAGED: Final = "the link code is damaged: copy the whole line again; nothing was stored"

Mac = Annotated[bytes, Field(min_length=32, max_length=32)]
Grant = Annotated[bytes, Field(max_length=MAX_GRANT_BYTES)]


class LinkCode(NamedTuple):
    """What one new device is told by a manager device of the same user."""

    invitation: Invitation
    secret: Secret
    """32 random bytes that only the two devices ever see."""
    account_key: Annotated[AccountKey, Ed25519Field]
    number: Annotated[DeviceNumber, Field(ge=1, le=MAX_DEVICE_NUMBER)]

    def __repr__(self) -> str:
        """Name the new device only: the rest is a login and a secret."""
        return f"LinkCode(address={self.address!r})"

    @property
    def address(self) -> DeviceAddress:
        """The address that the new device will have."""
        return device_address(self.invitation.user, self.number)


class DeviceOffer(NamedTuple):
    """The keys of a new device, proven to the manager by the code's secret."""

    signing_key: Annotated[SigningKey, Ed25519Field]
    identity_key: Annotated[IdentityKey, X25519Field]
    endorsement: SignatureIn
    mac: Mac


class Join(NamedTuple):
    """A new device's request as the directory passes it on to the manager."""

    offer: DeviceOffer
    reply_key: HpkePublicKey
    credential_hash: CredentialField
    nonce: Annotated[bytes, Field(max_length=16)]


class OpenedGrant(NamedTuple):
    """What a manager seals to the new device; a manager gets the account's private key too."""

    device_list: DeviceList
    account_private: Secret | None
    mac: Mac

    def __repr__(self) -> str:
        """Show nothing of it."""
        return "OpenedGrant(...)"


class OpenLink(NamedTuple):
    """Ask for a one-time login for another device of one's own account.

    The device draws id and password itself: the directory gets the hash of the login alone, and
    the password only from the new device.
    """

    invitation_id: InvitationIdField
    login_hash: CredentialField


class LinkOpened(NamedTuple):
    """Until when the one-time login works, in ms since 1970."""

    expires_at: Counter


class FetchJoin(NamedTuple):
    """Ask whether a new device has come with the code."""

    invitation_id: InvitationIdField


class JoinReply(NamedTuple):
    """What has come of a link: nothing yet, a request, or a device that was added."""

    join: Join | None
    address: Annotated[str, Field(max_length=40)]


class Approval(NamedTuple):
    """Which link a new list completes, and what the new device gets to read."""

    invitation_id: InvitationIdField
    grant: Grant


class UpdateDevices(NamedTuple):
    """A user's next device list; with ``approval`` where it adds a device."""

    device_list: DeviceList
    approval: Approval | None


_CODE: Final = Codec(LinkCode, MAX_INVITATION_CHARACTERS)
OPENED_GRANT: Final = Codec(OpenedGrant, MAX_GRANT_BYTES)
JOIN: Final = Codec(Join, MAX_DIRECTORY_BYTES)
OPEN_LINK: Final = Codec(OpenLink, MAX_DIRECTORY_BYTES)
LINK_OPENED: Final = Codec(LinkOpened, MAX_DIRECTORY_BYTES)
FETCH_JOIN: Final = Codec(FetchJoin, MAX_DIRECTORY_BYTES)
JOIN_REPLY: Final = Codec(JoinReply, MAX_DIRECTORY_BYTES)
UPDATE_DEVICES: Final = Codec(UpdateDevices, MAX_DIRECTORY_BYTES)


def offer_bytes(code: LinkCode, join: Join) -> bytes:
    """Return what the code's secret proves of a new device: all that it asks for."""
    invitation = code.invitation
    ids = (invitation.directory_id, invitation.invitation_id, code.address, code.account_key)
    return encode((LINK_OFFER_CONTEXT, *ids, *join.offer[:-1], *join[1:]))


def grant_bytes(code: LinkCode, grant: OpenedGrant) -> bytes:
    """Return what the code's secret proves of a manager's answer."""
    invitation = code.invitation
    ids = (invitation.directory_id, invitation.invitation_id, code.address, code.account_key)
    return encode((LINK_GRANT_CONTEXT, *ids, *grant[:-1]))


def grant_info(code: LinkCode) -> bytes:
    """Return the HPKE info of a sealed grant."""
    invitation = code.invitation
    return encode((SEALED_GRANT_CONTEXT, invitation.directory_id, invitation.invitation_id))


def is_link_code(text: str) -> bool:
    """Tell whether a line means to be a link code rather than an invitation."""
    return text.strip().startswith(LINK_PREFIX)


def format_link_code(code: LinkCode) -> str:
    """Return the one line that is carried to the new device."""
    packed = encode(code)
    return LINK_PREFIX + base64.urlsafe_b64encode(packed + _checksum(packed)).decode()


def parse_link_code(text: str) -> LinkCode:
    """Return the link code that a line of text is.

    Raises:
        InvalidInvitationError: The line is cut, mistyped or something else.
    """
    line = text.strip()
    if not is_link_code(line) or len(line) > MAX_INVITATION_CHARACTERS:
        raise InvalidInvitationError(
            f"this is not a link code: one begins with {LINK_PREFIX} and is one line; "
            "nothing was stored"
        )
    try:
        data = base64.b64decode(line.removeprefix(LINK_PREFIX), altchars=b"-_", validate=True)
        code = _CODE.decode(data[:-_CHECKSUM_BYTES])
    except (ProtocolError, ValueError) as error:
        raise InvalidInvitationError(_DAMAGED) from error
    if format_link_code(code) != line:
        raise InvalidInvitationError(_DAMAGED)
    return code


def _checksum(packed: bytes) -> bytes:
    return hashlib.sha256(packed).digest()[:_CHECKSUM_BYTES]
