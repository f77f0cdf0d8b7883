"""Healing lost sessions: what is asked for again, what is sealed again, and how often.

Source: Signal, The Sesame Algorithm, sections 3.3 and 4.2, bounded as docs/protocol.md says.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from client_sdk.core.errors import (
    AuthenticationError,
    DuplicateMessageError,
    SkippedTooFarError,
    UnknownSessionError,
)
from client_sdk.core.session import encrypt, session_tag_of
from client_sdk.core.session_record import SessionRecord, find, update
from client_sdk.machine.changes import (
    Candidate,
    Changes,
    Late,
    Message,
    MessageState,
    OutboxEnvelope,
    ResendDue,
)
from client_sdk.machine.device import OwnDevice
from client_sdk.machine.errors import (
    NoSessionError,
    PrekeyGoneError,
    ReplayedHandshakeError,
    UnknownDeviceError,
)
from client_sdk.machine.received import Arrived
from client_sdk.machine.sending import (
    NO_STREAM,
    FreshEnvelope,
    message_content,
    outbox_envelope,
    recipient_mark,
)
from client_sdk.machine.state import PeerState, based_on, remote_device
from client_sdk.wire.bundle import DAY_MS
from client_sdk.wire.codec import encode
from client_sdk.wire.content import Content, ContentKind, pad
from client_sdk.wire.errors import ProtocolError
from client_sdk.wire.healing import (
    ENVELOPE_DIGEST_BYTES,
    LostEnvelope,
    ResendRequest,
    Resent,
)
from client_sdk.wire.ids import DeviceAddress, EnvelopeId, MessageId
from client_sdk.wire.limits import MAX_RESEND_IDS

CANDIDATE_LIFETIME_MS: Final = 7 * DAY_MS
"""How long an envelope that did not open is kept, where no answer comes."""

RESEND_LIFETIME_MS: Final = 30 * DAY_MS
"""Messages older than this are not sealed again: they have expired."""

_SENT: Final = frozenset(
    {MessageState.PLANNED, MessageState.PUBLISHED, MessageState.DELIVERED, MessageState.READ}
)
"""Delivered and read by another device of the recipient; this one still has no receipt."""


class Verdict(Enum):
    """What becomes of an envelope that did not open."""

    DROP = "drop"
    """Forged or torn: cleared, counted, and never answered."""
    WAIT = "wait"
    """Left on the broker: an earlier one may open the way."""
    LOOK_UP = "look_up"
    """The directory is asked who its sender is."""
    HEAL = "heal"
    """Kept by its digest, and asked for again in a new session."""


@dataclass(frozen=True, slots=True)
class FreshContent:
    """What one sealed content of healing draws."""

    message_id: MessageId
    envelope: FreshEnvelope


def judge(state: PeerState, arrived: Arrived, error: ProtocolError) -> Verdict:
    """Decide what becomes of an envelope that did not open.

    A bad tag in the current session is a forgery. In an archived one it may be the trace of lost
    state: archives are made when a side starts anew.

    Args:
        state: The sending user; nothing was changed by the failure.
        arrived: The envelope.
        error: What opening it raised.
    """
    sender = arrived.topic.sender
    listed = remote_device(state, sender) is not None
    match error:
        case UnknownDeviceError():
            return Verdict.LOOK_UP
        case SkippedTooFarError():
            return Verdict.WAIT
        case UnknownSessionError() if not listed:
            return Verdict.LOOK_UP
        case UnknownSessionError() if not state.trusted:
            return Verdict.WAIT
        case (
            UnknownSessionError()
            | PrekeyGoneError()
            | ReplayedHandshakeError()
            | DuplicateMessageError()
        ):
            lost = True
        case AuthenticationError():
            lost = _is_archived(state, arrived)
        case _:
            lost = False
    return Verdict.HEAL if lost and listed and state.trusted else Verdict.DROP


def candidate(arrived: Arrived, now: int) -> Candidate:
    """Return the row of an envelope that did not open; ``now`` in ms since 1970."""
    return Candidate(
        arrived.topic.sender,
        arrived.topic.envelope_id,
        arrived.digest[:ENVELOPE_DIGEST_BYTES],
        session_tag_of(arrived.envelope),
        now,
    )


def plan_request(
    own: OwnDevice, state: PeerState, lost: Sequence[Candidate], fresh: FreshContent, now: int
) -> tuple[PeerState, Changes]:
    """Seal one request for up to ``MAX_RESEND_IDS`` envelopes of one device.

    Raises:
        NoSessionError: There is no session with the device; nothing changed.
    """
    chosen = tuple(lost[:MAX_RESEND_IDS])
    tags = dict.fromkeys(one.session_tag for one in chosen)
    body = ResendRequest(
        tuple(LostEnvelope(one.envelope_id, one.digest) for one in chosen), tuple(tags)
    )
    content = _content(own, state, fresh.message_id, now)
    content = content._replace(kind=ContentKind.RESEND_REQUEST, body=encode(body))
    device = chosen[0].sender
    sealed, envelope = _seal(state, device, content, fresh.envelope, now)
    asked = tuple(one._replace(asked_at=now) for one in chosen)
    return sealed, Changes(based_on=based_on(state), envelopes=(envelope,), candidates=asked)


def may_resend(
    state: PeerState, due: ResendDue, envelope: OutboxEnvelope, message: Message, now: int
) -> bool:
    """Tell whether a message is sealed again for the device that asks.

    Only the very device that it was first sealed for gets it: the same number, the same identity
    key, the same envelope, no receipt of it yet, and the message not expired.

    Args:
        state: The user of the device that asks.
        due: What it asks for.
        envelope: The envelope of that id in the outbox; a receipt would have removed it.
        message: The message that the envelope carries.
        now: ms since 1970.
    """
    remote = remote_device(state, due.device)
    digest = hashlib.sha256(envelope.payload).digest()[:ENVELOPE_DIGEST_BYTES]
    return (
        remote is not None
        and state.trusted
        and not state.peer.blocked
        and envelope.recipient == due.device
        and hmac.compare_digest(envelope.identity_key, remote.identity_key)
        and hmac.compare_digest(digest, due.digest)
        and message.outgoing
        and (state.is_own or message.conversation == state.user)
        and message.state in _SENT
        and message.sent_at + RESEND_LIFETIME_MS > now
        and (message.expires_at is None or message.expires_at > now)
    )


def plan_resend(
    own: OwnDevice,
    state: PeerState,
    again: tuple[OutboxEnvelope, Message],
    fresh: FreshEnvelope,
    now: int,
) -> tuple[PeerState, Changes]:
    """Seal a message again for the device of its envelope; the new one takes its place.

    A copy for one's own device is late again instead: its number among the copies is stored.

    Raises:
        NoSessionError: There is no session with the device; nothing changed.
    """
    old, message = again
    if state.is_own:
        late = Late(message.message_id, old.recipient, state.user)
        gone = (old.envelope_id,)
        return state, Changes(based_on=based_on(state), envelopes_gone=gone, late=(late,))
    start = min(state.starts.get(old.recipient, message.sequence), message.sequence)
    content = message_content(own, state, message)._replace(stream_start=start)
    sealed, envelope = _seal(state, old.recipient, content, fresh, now)
    changes = Changes(
        based_on=based_on(state),
        envelopes=(envelope._replace(message_id=message.message_id),),
        envelopes_gone=(old.envelope_id,),
    )
    return sealed, changes


def plan_answer(
    own: OwnDevice, state: PeerState, due: Sequence[ResendDue], fresh: FreshContent, now: int
) -> tuple[PeerState, Changes]:
    """Seal the answer: envelopes that need not be kept, whether sealed again or not.

    Raises:
        NoSessionError: There is no session with the device; nothing changed.
    """
    chosen = tuple(due[:MAX_RESEND_IDS])
    body = encode(Resent(tuple(one.envelope_id for one in chosen)))
    content = _content(own, state, fresh.message_id, now)
    content = content._replace(kind=ContentKind.RESENT, body=body)
    sealed, envelope = _seal(state, chosen[0].device, content, fresh.envelope, now)
    done = tuple((one.device, one.envelope_id) for one in chosen)
    return sealed, Changes(based_on=based_on(state), envelopes=(envelope,), resends_done=done)


def _is_archived(state: PeerState, arrived: Arrived) -> bool:
    record = state.sessions.get(arrived.topic.sender, SessionRecord())
    tag = session_tag_of(arrived.envelope)
    is_current = record.current is not None and record.current.tag == tag
    return not is_current and find(record, tag) is not None


def _content(own: OwnDevice, state: PeerState, message_id: MessageId, now: int) -> Content:
    """Return the frame of a content that stands in no stream and is never receipted."""
    return Content(
        message_id=message_id,
        stream_id=NO_STREAM,
        sequence=0,
        last_seen=(),
        sent_at=now,
        kind=ContentKind.RESENT,
        body=b"",
        sender_list=own.mark,
        recipient_list=recipient_mark(state),
    )


def _seal(
    state: PeerState, device: DeviceAddress, content: Content, fresh: FreshEnvelope, now: int
) -> tuple[PeerState, OutboxEnvelope]:
    record = state.sessions.get(device, SessionRecord())
    if record.current is None:
        raise NoSessionError("no session with the device that is to be healed; nothing was sent")
    padded = pad(encode(content))
    session, payload = encrypt(record.current, fresh.envelope_id, padded, fresh.keys)
    sessions = {**state.sessions, device: update(record, session)}
    envelope_id: EnvelopeId = fresh.envelope_id
    sealed = outbox_envelope(state, device, (envelope_id, payload), None, now)
    return replace(state, sessions=sessions), sealed
