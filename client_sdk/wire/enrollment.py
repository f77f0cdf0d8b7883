"""What a new device and the key directory say to each other, sealed with HPKE both ways."""

import hmac
from typing import Annotated, Final, NamedTuple

from pydantic import Field

from client_sdk.wire.bundle import DeviceList, SignatureIn
from client_sdk.wire.codec import Codec, encode
from client_sdk.wire.directory import DisplayName, NonceField, StatusField
from client_sdk.wire.ids import DirectoryId, InvitationId
from client_sdk.wire.invitation import DirectoryIdField, HpkePublicKey, InvitationIdField, Secret
from client_sdk.wire.limits import MAX_DIRECTORY_BYTES
from client_sdk.wire.linking import DeviceOffer, Grant
from client_sdk.wire.verifier import CredentialField

ENROLL_LOGIN_CONTEXT: Final = "RatchetMQ/1 enrolment login"
ENROLL_CONTEXT: Final = "RatchetMQ/1 enrolment request"
ENROLLED_CONTEXT: Final = "RatchetMQ/1 enrolment reply"
ENROLLED_SEAL_CONTEXT: Final = "RatchetMQ/1 sealed enrolment reply"


class EnrollRequest(NamedTuple):
    """What a new device seals to the directory; resent unchanged after a crash."""

    invitation_id: InvitationIdField
    password: Secret
    """The invitation's own, which only the directory ever sees: the proof of being invited."""
    nonce: NonceField
    device_list: DeviceList | DeviceOffer
    """A new account's first list; a linked device's keys, for a manager to list."""
    credential_hash: CredentialField
    reply_key: HpkePublicKey

    def __repr__(self) -> str:
        """Name the invitation only: the rest enrols."""
        return f"EnrollRequest(invitation_id={self.invitation_id!r})"


class EnrollReply(NamedTuple):
    """The directory's sealed and signed answer; address and role are empty unless ``ok``."""

    directory_id: DirectoryIdField
    invitation_id: InvitationIdField
    nonce: NonceField
    status: StatusField
    address: Annotated[str, Field(max_length=40)]
    role: DisplayName
    name: DisplayName
    grant: Grant
    """What the approving device sealed to a linked one; empty for any other."""
    signature: SignatureIn


ENROLL_REQUEST: Final = Codec(EnrollRequest, MAX_DIRECTORY_BYTES)
ENROLL_REPLY: Final = Codec(EnrollReply, MAX_DIRECTORY_BYTES)


def enroll_reply_bytes(reply: EnrollReply) -> bytes:
    """Return what the directory's key signs for an enrolment: all but the signature."""
    return encode((ENROLLED_CONTEXT, *reply[:-1]))


def enroll_login_secret(invitation_id: InvitationId, password: bytes) -> bytes:
    """Return the 32-byte secret of the one-time MQTT login of an invitation.

    It is derived one way, so that a broker that sees the login cannot enrol in its place.

    Args:
        invitation_id: The invitation's id.
        password: The 32 bytes in the invitation.
    """
    return hmac.digest(password, encode((ENROLL_LOGIN_CONTEXT, invitation_id)), "sha256")


def enroll_info(directory_id: DirectoryId, invitation_id: InvitationId) -> bytes:
    """Return the HPKE info of a sealed enrolment request."""
    return encode((ENROLL_CONTEXT, directory_id, invitation_id))


def enrolled_info(directory_id: DirectoryId, invitation_id: InvitationId) -> bytes:
    """Return the HPKE info of the sealed answer to an enrolment request."""
    return encode((ENROLLED_SEAL_CONTEXT, directory_id, invitation_id))
