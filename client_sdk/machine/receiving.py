"""From an envelope to what it changes: open, then place; a failure changes nothing."""

import hashlib
from dataclasses import replace
from typing import Final

from client_sdk.core.errors import UnknownSessionError
from client_sdk.core.session import (
    Session,
    decrypt,
    handshake_of,
    session_tag_of,
)
from client_sdk.core.session_record import (
    SessionRecord,
    add_archived,
    crossing,
    find,
    promote,
    update,
)
from client_sdk.machine.accepting import begun_session
from client_sdk.machine.changes import (
    Changes,
    MessageState,
    OpenedEnvelope,
    PrekeyKind,
    ReceiptDue,
    Receipted,
    StateChange,
    StreamPosition,
)
from client_sdk.machine.device import OwnDevice
from client_sdk.machine.events import ContactRequest, Delivered, Event, Read, SentElsewhere
from client_sdk.machine.received import Arrived, HandshakeInput, Opened, message_from
from client_sdk.machine.state import PeerState, based_on
from client_sdk.machine.streams import Release, arrive, give_up, make_room, newest_sequence
from client_sdk.wire.content import (
    CONTENT,
    RECEIPT_BODY,
    Content,
    ContentKind,
    unpad,
)
from client_sdk.wire.envelope import ENVELOPE, HandshakeHeader, PrekeyHeader
from client_sdk.wire.errors import MalformedError
from client_sdk.wire.ids import DeviceAddress, MessageId
from client_sdk.wire.limits import MAX_COUNTER
from client_sdk.wire.topics import InboxTopic

MIN_SEQUENCE: Final = 1
MAX_SEQUENCE: Final = MAX_COUNTER - 1
"""The number after the last one still has to fit into a store's integer."""


def parse_arrived(topic: InboxTopic, payload: bytes) -> Arrived:
    """Return the envelope that ``payload`` is; raises ProtocolError where it is none."""
    return Arrived(topic, ENVELOPE.decode(payload), hashlib.sha256(payload).digest())


def handshake_wanted(state: PeerState, arrived: Arrived) -> PrekeyHeader | None:
    """Return the handshake to accept before ``arrived`` opens; None where its session is known.

    Raises:
        UnknownSessionError: Its session is unknown and no handshake comes with it.
        MalformedError: Its header cannot be read.
    """
    record = state.sessions.get(arrived.topic.sender, SessionRecord())
    if find(record, session_tag_of(arrived.envelope)) is not None:
        return None
    header = handshake_of(arrived.envelope)
    if header is None:
        raise UnknownSessionError("no session with the sender fits this envelope")
    return header


def handshake_digest(handshake: HandshakeHeader) -> bytes:
    """Return what the replay cache keeps of a handshake: SHA-256(EK ‖ KEM ciphertext)."""
    return hashlib.sha256(handshake.ephemeral_key + handshake.kem_ciphertext).digest()


def prekeys_named(handshake: HandshakeHeader) -> tuple[tuple[PrekeyKind, int], ...]:
    """Return the private prekeys that a handshake may need, the KEM prekey of either kind."""
    named = [
        (PrekeyKind.SIGNED, handshake.signed_prekey_id),
        (PrekeyKind.KEM_ONE_TIME, handshake.kem_prekey_id),
        (PrekeyKind.KEM_LAST_RESORT, handshake.kem_prekey_id),
    ]
    if handshake.one_time_prekey_id is not None:
        named.append((PrekeyKind.ONE_TIME, handshake.one_time_prekey_id))
    return tuple(named)


def open_envelope(
    own: OwnDevice, state: PeerState, arrived: Arrived, handshake: HandshakeInput | None, now: int
) -> tuple[PeerState, Opened]:
    """Authenticate and open one envelope.

    Args:
        own: This device.
        state: The sending user.
        arrived: The envelope.
        handshake: Private prekeys, where ``handshake_wanted`` named a handshake.
        now: ms since 1970.

    Raises:
        ProtocolError: It does not open; ``state`` stands as it was.
    """
    sender = arrived.topic.sender
    record = state.sessions.get(sender, SessionRecord())
    if handshake is None:
        known = find(record, session_tag_of(arrived.envelope))
        if known is None:
            raise UnknownSessionError("no session with the sender fits this envelope")
        session, padded = decrypt(known, arrived.topic.envelope_id, arrived.envelope)
        content = _content(padded)
        moved = update(record, session)
        return _with_record(state, sender, moved), Opened(arrived, content, Changes())
    begun = begun_session(own, state, sender, handshake)
    session, padded = decrypt(begun, arrived.topic.envelope_id, arrived.envelope)
    content = _content(padded)
    moved = (
        promote(record, session, now)
        if _becomes_current(state, record, session, content, sender)
        else add_archived(record, session, now)
    )
    changes = Changes(
        prekeys_spent=handshake.spent,
        handshakes=(handshake_digest(handshake.header.handshake),),
    )
    return _with_record(state, sender, moved), Opened(arrived, content, changes)


def plan_receive(
    state: PeerState, opened: Opened, now: int, *, known: bool
) -> tuple[PeerState, Changes, tuple[Event, ...]]:
    """Decide what an opened envelope changes.

    The changed sessions are in ``state``; the caller adds their rows once for all envelopes of
    one step.

    Args:
        state: The sending user, after ``open_envelope``.
        opened: The envelope.
        now: ms since 1970.
        known: Whether this user's message of this id is in the history already.

    Raises:
        ProtocolError: The content is not what its kind says; nothing may be committed.
    """
    content = opened.content
    if content.kind in {ContentKind.MESSAGE, ContentKind.SENT_COPY}:
        # One's own devices send copies, and nobody else does: a conversation is never believed.
        if (content.kind == ContentKind.SENT_COPY) is not state.is_own:
            raise MalformedError("a message of a kind that its sender does not send")
        return _receive_message(state, opened, now, known=known)
    return _receive_receipt(state, opened, now)


def plan_repeat(state: PeerState, before: OpenedEnvelope, now: int) -> Changes:
    """Answer an envelope that was opened before: its receipt again, without decryption."""
    if before.message_id is None or not state.trusted:
        return Changes()
    due = ReceiptDue(state.user, before.message_id, read=False, due_since=now)
    return Changes(receipts_due=(due,))


def plan_give_up(
    state: PeerState, position: StreamPosition, now: int
) -> tuple[PeerState, Changes, tuple[Event, ...]]:
    """Hand over what waited too long behind a missing message."""
    moved, release = give_up(position, now)
    changes = Changes(
        based_on=based_on(state), streams=(moved,), states=_released(state, release, None)
    )
    events: tuple[Event, ...] = () if release.gap is None else (release.gap,)
    return _with_streams(state, moved), changes, events


def _receive_message(
    state: PeerState, opened: Opened, now: int, *, known: bool
) -> tuple[PeerState, Changes, tuple[Event, ...]]:
    content, sender = opened.content, opened.arrived.topic.sender
    message = message_from(state, opened, now)
    start = max(content.stream_start, MIN_SEQUENCE)
    if not start <= content.sequence <= MAX_SEQUENCE:
        raise MalformedError("a message stands in no stream")
    receipts = (
        (ReceiptDue(state.user, content.message_id, read=False, due_since=now),)
        if state.trusted
        else ()
    )
    common = replace(
        opened.changes,
        based_on=based_on(state),
        opened=(_opened_row(opened, content.message_id, now),),
        receipts_due=receipts,
    )
    if known:
        return state, common, ()
    known_stream = state.streams.get((sender, content.stream_id))
    gone, earlier = ((), ()) if known_stream else make_room(state.streams, sender, now)
    position = known_stream or StreamPosition(sender, content.stream_id, start)
    placed, release = arrive(position, content.sequence, content.message_id, now)
    moved = placed._replace(used_at=now)
    own_release = content.message_id in release.message_ids
    expired = message.expires_at is not None and message.expires_at <= now
    states = (
        *(change for one in earlier for change in _released(state, one, None)),
        *_released(state, release, content.message_id if own_release and expired else None),
    )
    events: tuple[Event, ...] = tuple(one.gap for one in (*earlier, release) if one.gap)
    if state.is_own:
        events = (*events, SentElsewhere(message.message_id, message.conversation, sender))
    if not state.trusted and not state.streams:  # the first message of a stranger
        events = (*events, ContactRequest(state.user))
    changes = replace(common, messages=(message,), streams=(*gone, moved), states=states)
    return _with_streams(state, *gone, moved), changes, events


def _receive_receipt(
    state: PeerState, opened: Opened, now: int
) -> tuple[PeerState, Changes, tuple[Event, ...]]:
    sender = opened.arrived.topic.sender
    read = opened.content.kind == ContentKind.READ
    ids = RECEIPT_BODY.decode(opened.content.body).message_ids
    changes = replace(
        opened.changes,
        based_on=based_on(state),
        opened=(_opened_row(opened, None, now),),
        receipted=tuple(Receipted(one, sender, state.user, read, now) for one in ids),
    )
    if state.is_own:  # one's own other devices confirm copies: nobody was reached by that
        return state, changes, ()
    kind = Read if read else Delivered
    return state, changes, tuple(kind(one, sender) for one in ids)


def _released(
    state: PeerState, release: Release, expired: MessageId | None
) -> tuple[StateChange, ...]:
    handed_over = MessageState.READY if state.trusted else MessageState.REQUEST
    if state.is_own:
        handed_over = MessageState.COPIED
    return tuple(
        StateChange(
            one,
            state.user,
            MessageState.EXPIRED if one == expired else handed_over,
            after_gap=release.gap is not None and one == release.message_ids[0],
        )
        for one in release.message_ids
    )


def _opened_row(opened: Opened, message_id: MessageId | None, now: int) -> OpenedEnvelope:
    topic = opened.arrived.topic
    return OpenedEnvelope(topic.sender, topic.envelope_id, opened.arrived.digest, message_id, now)


def _becomes_current(
    state: PeerState,
    record: SessionRecord,
    session: Session,
    content: Content,
    sender: DeviceAddress,
) -> bool:
    """Tell whether a session that the peer began is the one to send in from now on.

    It is where the peer began it after all that is known of it. A first message that crossed
    one's own comes late at times, even behind an answer to one's own: then the smaller id wins,
    as at the peer.
    """
    current = record.current
    if current is None:
        return True
    written = [one for one in state.streams.values() if one.device == sender]
    if not current.acknowledged or not written:
        return crossing(current, session)
    newest = (newest_sequence(one) for one in written if one.stream_id == content.stream_id)
    return all(content.sequence > one for one in newest)


def _content(padded: bytes) -> Content:
    return CONTENT.decode(unpad(padded))


def _with_record(state: PeerState, device: DeviceAddress, record: SessionRecord) -> PeerState:
    return replace(state, sessions={**state.sessions, device: record})


def _with_streams(state: PeerState, *positions: StreamPosition) -> PeerState:
    moved = {(one.device, one.stream_id): one for one in positions}
    streams = {**state.streams, **moved}
    return replace(state, streams={key: one for key, one in streams.items() if not one.gone})
