"""The invitation: one line of text that lets one device enrol once."""

import base64
import hashlib
from typing import Annotated, Final, NamedTuple

from pydantic import Field

from client_sdk.wire.bundle import DeviceList, UserField
from client_sdk.wire.codec import Codec, encode
from client_sdk.wire.content import Counter
from client_sdk.wire.encoded_keys import Ed25519Field, SigningKey
from client_sdk.wire.errors import InvalidInvitationError, ProtocolError
from client_sdk.wire.ids import DeviceNumber, DirectoryId, InvitationId
from client_sdk.wire.limits import MAX_DEVICE_NUMBER, MAX_INVITATION_CHARACTERS

INVITATION_PREFIX: Final = "rmq1."
INVITATION_LIFETIME_MS: Final = 72 * 60 * 60 * 1000
SECRET_BYTES: Final = 32
HPKE_PUBLIC_KEY_BYTES: Final = 1216
"""MLKEM768_X25519: an ML-KEM-768 key (1,184 bytes), then an X25519 key (32)."""

MAX_BROKER_URLS: Final = 8
_MAX_URL_CHARACTERS: Final = 256
_CHECKSUM_BYTES: Final = 4
_DAMAGED: Final = (
    "the invitation is damaged: copy the whole line again, or ask for a new one; nothing was stored"
)

RandomIdField = Field(pattern=r"^[a-z2-7]{26}$")
InvitationIdField = Annotated[InvitationId, RandomIdField]
DirectoryIdField = Annotated[DirectoryId, RandomIdField]
Secret = Annotated[bytes, Field(min_length=SECRET_BYTES, max_length=SECRET_BYTES)]
HpkePublicKey = Annotated[
    bytes, Field(min_length=HPKE_PUBLIC_KEY_BYTES, max_length=HPKE_PUBLIC_KEY_BYTES)
]


class Invitation(NamedTuple):
    """What a new device is told: where, who, a one-time login, and the directory's keys."""

    broker_urls: Annotated[
        tuple[Annotated[str, Field(max_length=_MAX_URL_CHARACTERS)], ...],
        Field(min_length=1, max_length=MAX_BROKER_URLS),
    ]
    user: UserField
    invitation_id: InvitationIdField
    password: Secret
    directory_id: DirectoryIdField
    directory_key: Annotated[SigningKey, Ed25519Field]
    directory_hpke_key: HpkePublicKey
    ca_fingerprint: Secret | None
    expires_at: Counter

    def __repr__(self) -> str:
        """Name the user only: the rest is a login."""
        return f"Invitation(user={self.user!r})"


class Standing(NamedTuple):
    """Where an account stands that a new device takes over.

    Attributes:
        may_reset: Whether a new account key is allowed beside the present one.
        device_number: The new device's, never used before.
        device_list: The present one, which the next one follows.
    """

    may_reset: bool
    device_number: Annotated[DeviceNumber, Field(ge=1, le=MAX_DEVICE_NUMBER)]
    device_list: DeviceList


class ReturnInvitation(NamedTuple):
    """An invitation for an account that exists: the same line, with where the account stands."""

    invitation: Invitation
    standing: Standing


_CODEC: Final = Codec(Invitation, MAX_INVITATION_CHARACTERS)
_RETURN_CODEC: Final = Codec(ReturnInvitation, MAX_INVITATION_CHARACTERS)


def format_invitation(invitation: Invitation | ReturnInvitation) -> str:
    """Return the one line that is handed to the user."""
    packed = encode(invitation)
    return INVITATION_PREFIX + base64.urlsafe_b64encode(packed + _checksum(packed)).decode()


def parse_invitation(text: str) -> Invitation:
    """Return the invitation that a line of text is, of either kind.

    Raises:
        InvalidInvitationError: The line is cut, mistyped or something else.
    """
    parsed = parse_any_invitation(text)
    return parsed.invitation if isinstance(parsed, ReturnInvitation) else parsed


def parse_any_invitation(text: str) -> Invitation | ReturnInvitation:
    """Return the invitation that a line of text is: for a new account, or for one that exists.

    Raises:
        InvalidInvitationError: The line is cut, mistyped or something else.
    """
    line = text.strip()
    if not line.startswith(INVITATION_PREFIX) or len(line) > MAX_INVITATION_CHARACTERS:
        raise InvalidInvitationError(
            f"this is not an invitation: one begins with {INVITATION_PREFIX} and is one line; "
            "nothing was stored"
        )
    try:
        data = base64.b64decode(line.removeprefix(INVITATION_PREFIX), altchars=b"-_", validate=True)
        invitation = _decode(data[:-_CHECKSUM_BYTES])
    except (ProtocolError, ValueError) as error:
        raise InvalidInvitationError(_DAMAGED) from error
    # Compares the checksum, and base64's spelling: it has several for the same bytes.
    if format_invitation(invitation) != line:
        raise InvalidInvitationError(_DAMAGED)
    return invitation


def password_text(secret: bytes) -> str:
    """Return a 32-byte login secret in the form that MQTT carries: 43 URL-safe characters."""
    return base64.urlsafe_b64encode(secret).decode().rstrip("=")


def secret_hash(password: str) -> bytes:
    """Return what the server stores of a login's password: SHA-256 of its 43 characters."""
    return hashlib.sha256(password.encode()).digest()


def _decode(packed: bytes) -> Invitation | ReturnInvitation:
    # The two are arrays of 9 and of 2 items.
    returns = packed[:1] == encode((None,) * len(ReturnInvitation._fields))[:1]
    return (_RETURN_CODEC if returns else _CODEC).decode(packed)


def _checksum(packed: bytes) -> bytes:
    return hashlib.sha256(packed).digest()[:_CHECKSUM_BYTES]
