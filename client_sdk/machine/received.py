"""An envelope as it came, as it was opened, and the message that stands in it."""

from dataclasses import dataclass, field
from typing import NamedTuple

from client_sdk.core.pqxdh import ResponderPrekeys
from client_sdk.machine.changes import Changes
from client_sdk.machine.rows import Message, MessageState, PrekeyKind
from client_sdk.machine.state import PeerState
from client_sdk.wire.content import Content, decode_copy_body, decode_message_body
from client_sdk.wire.envelope import Envelope, PrekeyHeader
from client_sdk.wire.ids import UserName
from client_sdk.wire.topics import InboxTopic


class Arrived(NamedTuple):
    """An envelope from one's own inbox; nothing of it is authenticated yet."""

    topic: InboxTopic
    envelope: Envelope
    digest: bytes


@dataclass(frozen=True, slots=True)
class Opened:
    """An envelope that was authenticated and opened; not decided yet."""

    arrived: Arrived
    content: Content
    changes: Changes
    """Prekeys spent and the handshake's digest, where a session began with it."""


@dataclass(frozen=True, slots=True)
class HandshakeInput:
    """What accepting a new session takes from the store."""

    header: PrekeyHeader
    prekeys: ResponderPrekeys = field(repr=False)
    spent: tuple[tuple[PrekeyKind, int], ...]


def message_from(state: PeerState, opened: Opened, now: int) -> Message:
    """Return the message in an opened envelope, held until its place is found.

    The conversation is derived: the sender; only a copy of one's own device names it.

    Raises:
        ProtocolError: The body is not what the content's kind says.
    """
    content = opened.content
    conversation, sequence = state.user, content.sequence
    if state.is_own:
        copy = decode_copy_body(content.body)
        conversation, sequence, body = UserName(copy.conversation), copy.sequence, copy.message
    else:
        body = decode_message_body(content.body)
    return Message(
        message_id=content.message_id,
        conversation=conversation,
        sender=state.user,
        sender_device=opened.arrived.topic.sender,
        outgoing=state.is_own,
        state=MessageState.HELD,
        sent_at=content.sent_at,
        text=body.text,
        data=body.data,
        content_type=body.content_type,
        reply_to=body.reply_to,
        expires_at=body.expires_at,
        stream_id=content.stream_id,
        sequence=sequence,
        received_at=now,
    )
