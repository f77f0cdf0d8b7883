"""Messages for devices that could not get them at once, and copies for one's own devices."""

from typing import NamedTuple

from client_sdk.machine.changes import Changes
from client_sdk.machine.device import OwnDevice
from client_sdk.machine.rows import Late, Message
from client_sdk.machine.sending import (
    NO_STREAM,
    FreshEnvelopes,
    last_seen,
    message_body,
    recipient_mark,
    seal,
    start_alone,
)
from client_sdk.machine.state import PeerState, based_on
from client_sdk.wire.codec import encode
from client_sdk.wire.content import Content, ContentKind, CopyBody, encode_message_body


class LateMessage(NamedTuple):
    """A planned message that one device is still to get."""

    late: Late
    message: Message
    copy_sequence: int
    """Its number in the stream of copies for one's own devices."""


def plan_late(
    own: OwnDevice, state: PeerState, waiting: LateMessage, fresh: FreshEnvelopes, now: int
) -> tuple[PeerState, Changes]:
    """Encrypt a planned message for one more device; for one's own it is a copy.

    The caller adds the row of the session once for all messages of one step.

    Args:
        own: This device.
        state: The device's user.
        waiting: The message.
        fresh: An envelope id and keys for that one device.
        now: ms since 1970.

    Raises:
        NoSessionError: The device has no session; nothing changed.
    """
    message, late = waiting.message, waiting.late
    body = message_body(message)
    if state.is_own:
        kind, sequence = ContentKind.SENT_COPY, waiting.copy_sequence
        packed = encode(CopyBody(message.conversation, message.sequence, body))
        stream_id = own.record.stream_id
    else:
        kind, sequence = ContentKind.MESSAGE, message.sequence
        packed, stream_id = encode_message_body(body), message.stream_id or NO_STREAM
    content = Content(
        message_id=message.message_id,
        stream_id=stream_id,
        sequence=sequence,
        last_seen=last_seen(state),
        sent_at=message.sent_at,
        kind=kind,
        body=packed,
        sender_list=own.mark,
        recipient_list=recipient_mark(state),
        stream_start=start_alone(own, stream_id, sequence),
    )
    moved, envelopes = seal(state, content, fresh, message.message_id, now)
    return moved, Changes(based_on=based_on(state), envelopes=envelopes, late_done=(late,))
