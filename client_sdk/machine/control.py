"""Contents for one device that stand in no stream: never receipted, shown, or sealed again."""

from dataclasses import dataclass, replace

from client_sdk.core.session import encrypt
from client_sdk.core.session_record import SessionRecord, update
from client_sdk.machine.device import OwnDevice
from client_sdk.machine.errors import NoSessionError
from client_sdk.machine.rows import OutboxEnvelope
from client_sdk.machine.sending import (
    NO_STREAM,
    FreshEnvelope,
    outbox_envelope,
    recipient_mark,
)
from client_sdk.machine.state import PeerState
from client_sdk.wire.codec import encode
from client_sdk.wire.content import Content, ContentKind, pad
from client_sdk.wire.ids import DeviceAddress, MessageId


@dataclass(frozen=True, slots=True)
class FreshContent:
    """What one such content draws."""

    message_id: MessageId
    envelope: FreshEnvelope


def control_content(
    own: OwnDevice,
    state: PeerState,
    named: tuple[ContentKind, bytes],
    fresh: FreshContent,
    now: int,
) -> Content:
    """Return the content of a kind and an encoded body, for a device of the state's user."""
    kind, body = named
    return Content(
        message_id=fresh.message_id,
        stream_id=NO_STREAM,
        sequence=0,
        last_seen=(),
        sent_at=now,
        kind=kind,
        body=body,
        sender_list=own.mark,
        recipient_list=recipient_mark(state),
    )


def seal_for(
    state: PeerState, device: DeviceAddress, content: Content, fresh: FreshEnvelope, now: int
) -> tuple[PeerState, OutboxEnvelope]:
    """Encrypt one content, made whole by the caller, for one device.

    Raises:
        NoSessionError: There is no session with the device; nothing changed.
    """
    record = state.sessions.get(device, SessionRecord())
    if record.current is None:
        raise NoSessionError("no session with this device; nothing was sent")
    padded = pad(encode(content))
    session, payload = encrypt(record.current, fresh.envelope_id, padded, fresh.keys)
    sessions = {**state.sessions, device: update(record, session)}
    sealed = outbox_envelope(state, device, (fresh.envelope_id, payload), None, now)
    return replace(state, sessions=sessions), sealed
