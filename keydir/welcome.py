"""The sealed and signed answer to an enrolment."""

from typing import NamedTuple, Protocol

from client_sdk.core.hpke import seal
from client_sdk.wire import topics
from client_sdk.wire.codec import encode
from client_sdk.wire.directory import Status
from client_sdk.wire.enrollment import EnrollReply, enroll_reply_bytes, enrolled_info
from client_sdk.wire.ids import InvitationId
from keydir.desk import NO_SIGNATURE, Desk, Outgoing


class Welcome(NamedTuple):
    """What an enrolling device is told."""

    status: Status
    address: str = ""
    role: str = ""
    name: str = ""
    grant: bytes = b""


class Asked(Protocol):
    """What of a request the answer needs: an enrolment's or a link's."""

    @property
    def nonce(self) -> bytes:
        """The request's nonce."""
        ...

    @property
    def reply_key(self) -> bytes:
        """The key that the answer is sealed to."""
        ...


def sealed_welcome(
    desk: Desk, invitation_id: InvitationId, request: Asked, welcome: Welcome
) -> Outgoing:
    """Return the answer to publish."""
    keys = desk.keys
    unsigned = EnrollReply(
        directory_id=keys.directory_id,
        invitation_id=invitation_id,
        nonce=request.nonce,
        status=welcome.status,
        address=welcome.address,
        role=welcome.role,
        name=welcome.name,
        grant=welcome.grant,
        signature=NO_SIGNATURE,
    )
    reply = unsigned._replace(signature=keys.signing.sign(enroll_reply_bytes(unsigned)))
    info = enrolled_info(keys.directory_id, invitation_id)
    return Outgoing(topics.enrolled(invitation_id), seal(request.reply_key, encode(reply), info))
