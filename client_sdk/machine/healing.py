"""Healing lost sessions: what is asked for again, what is sealed again, and how often.

Source: Signal, The Sesame Algorithm, sections 3.3 and 4.2, bounded as docs/protocol.md says.
"""

import hashlib
import hmac
from collections.abc import Sequence
from enum import Enum
from typing import Final

from client_sdk.core.errors import (
    AuthenticationError,
    DuplicateMessageError,
    SkippedTooFarError,
    UnknownSessionError,
)
from client_sdk.core.session import session_tag_of
from client_sdk.core.session_record import SessionRecord, find
from client_sdk.machine.changes import Changes
from client_sdk.machine.control import FreshContent, control_content, seal_for
from client_sdk.machine.device import OwnDevice
from client_sdk.machine.errors import (
    PrekeyGoneError,
    ReplayedHandshakeError,
    UnknownDeviceError,
)
from client_sdk.machine.received import Arrived
from client_sdk.machine.rows import (
    Candidate,
    Late,
    Message,
    MessageState,
    OutboxEnvelope,
    ResendDue,
)
from client_sdk.machine.sending import FreshEnvelope, message_content, start_alone
from client_sdk.machine.state import PeerState, based_on, remote_device
from client_sdk.wire.bundle import DAY_MS
from client_sdk.wire.codec import encode
from client_sdk.wire.content import ContentKind
from client_sdk.wire.errors import ProtocolError
from client_sdk.wire.healing import (
    ENVELOPE_DIGEST_BYTES,
    LostEnvelope,
    ResendRequest,
    Resent,
)
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
    named = (ContentKind.RESEND_REQUEST, encode(body))
    content = control_content(own, state, named, fresh, now)
    device = chosen[0].sender
    sealed, envelope = seal_for(state, device, content, fresh.envelope, now)
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
        and state.may_be_answered
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
    content = message_content(own, state, message)
    alone = start_alone(own, content.stream_id, message.sequence)
    start = alone or min(state.starts.get(old.recipient, message.sequence), message.sequence)
    content = content._replace(stream_start=start)
    sealed, envelope = seal_for(state, old.recipient, content, fresh, now)
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
    content = control_content(own, state, (ContentKind.RESENT, body), fresh, now)
    sealed, envelope = seal_for(state, chosen[0].device, content, fresh.envelope, now)
    done = tuple((one.device, one.envelope_id) for one in chosen)
    return sealed, Changes(based_on=based_on(state), envelopes=(envelope,), resends_done=done)


def _is_archived(state: PeerState, arrived: Arrived) -> bool:
    record = state.sessions.get(arrived.topic.sender, SessionRecord())
    tag = session_tag_of(arrived.envelope)
    is_current = record.current is not None and record.current.tag == tag
    return not is_current and find(record, tag) is not None
