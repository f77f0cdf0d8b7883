"""From an opened envelope to what it changes."""

from collections.abc import Container, Iterable
from dataclasses import replace
from typing import Final

from client_sdk.machine.changes import Changes
from client_sdk.machine.events import (
    ContactRequest,
    Delivered,
    Event,
    Read,
    SentElsewhere,
    SessionRenewed,
)
from client_sdk.machine.opening import position_of
from client_sdk.machine.received import Opened, message_from
from client_sdk.machine.rows import (
    MessageState,
    OpenedEnvelope,
    ReceiptDue,
    Receipted,
    ResendDue,
    StateChange,
    StreamPosition,
)
from client_sdk.machine.state import PeerState, based_on
from client_sdk.machine.streams import Release, arrive, give_up, make_room
from client_sdk.wire.content import RECEIPT_BODY, ContentKind
from client_sdk.wire.errors import MalformedError
from client_sdk.wire.healing import RESEND_REQUEST, RESENT
from client_sdk.wire.ids import DeviceAddress, MessageId
from client_sdk.wire.limits import MAX_COUNTER

MIN_SEQUENCE: Final = 1
MAX_SEQUENCE: Final = MAX_COUNTER - 1
"""The number after the last one still has to fit into a store's integer."""


def plan_receive(
    state: PeerState, opened: Opened, now: int, *, known: bool
) -> tuple[PeerState, Changes, tuple[Event, ...]]:
    """Decide what an opened envelope changes.

    The changed sessions are in ``state``; the caller adds their rows once for all envelopes of
    one step. Receipts may name anything: see ``confirmed``.

    Args:
        state: The sending user, after ``open_envelope``.
        opened: The envelope.
        now: ms since 1970.
        known: Whether this user's message of this id is in the history already.

    Raises:
        ProtocolError: The content is not what its kind says; nothing may be committed.
    """
    kind = opened.content.kind
    if kind in {ContentKind.MESSAGE, ContentKind.SENT_COPY}:
        # One's own devices send copies, and nobody else does: a conversation is never believed.
        if (kind == ContentKind.SENT_COPY) is not state.is_own:
            raise MalformedError("a message of a kind that its sender does not send")
        return _receive_message(state, opened, now, known=known)
    if kind in {ContentKind.DELIVERED, ContentKind.READ}:
        return _receive_receipt(state, opened, now)
    if kind == ContentKind.RESEND_REQUEST:
        return _receive_resend_request(state, opened, now)
    if kind == ContentKind.RESENT:
        return _receive_resent(state, opened, now)
    raise MalformedError("a content of a kind that is not known here")


def plan_repeat(state: PeerState, before: OpenedEnvelope, now: int) -> Changes:
    """Answer an envelope that was opened before: its receipt again, without decryption."""
    if before.message_id is None or not state.trusted:
        return Changes()
    due = ReceiptDue(state.user, before.message_id, read=False, due_since=now)
    return Changes(receipts_due=(due,))


def released_from(state: PeerState, devices: Container[DeviceAddress]) -> tuple[StateChange, ...]:
    """Return the hand-over of all that waits behind missing messages of devices that have left.

    Args:
        state: The user, with the streams of those devices.
        devices: Those devices; what is missing of them does not come any more.
    """
    released: list[StateChange] = []
    for one in state.streams.values():
        left = one
        while left.device in devices and left.held:
            left, release = give_up(left, 0)
            released += _released(state, release, None)
    return tuple(released)


def remembered(state: PeerState, opened: Opened, now: int) -> Changes:
    """Return the changes of an envelope that stands in no stream; what it says comes on top."""
    row = _opened_row(opened, None, now)
    return replace(opened.changes, based_on=based_on(state), opened=(row,))


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


def confirmed_ids(events: Iterable[Event]) -> tuple[MessageId, ...]:
    """Return the messages that receipts among ``events`` name."""
    return tuple(one.message_id for one in events if isinstance(one, Delivered | Read))


def confirmed(events: Iterable[Event], ours: Container[MessageId]) -> list[Event]:
    """Return ``events`` less the receipts for anything but our messages to that user."""
    return [
        one for one in events if not isinstance(one, Delivered | Read) or one.message_id in ours
    ]


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
        remembered(state, opened, now),
        receipted=tuple(Receipted(one, sender, state.user, read, now) for one in ids),
    )
    if state.is_own:  # one's own other devices confirm copies: nobody was reached by that
        return state, changes, ()
    kind = Read if read else Delivered
    return state, changes, tuple(kind(one, sender) for one in ids)


def _receive_resend_request(
    state: PeerState, opened: Opened, now: int
) -> tuple[PeerState, Changes, tuple[Event, ...]]:
    sender = opened.arrived.topic.sender
    asked = RESEND_REQUEST.decode(opened.content.body)
    changes = remembered(state, opened, now)
    if not state.trusted:
        return state, changes, ()
    changes = replace(
        changes,
        resends_due=tuple(
            ResendDue(sender, one.envelope_id, one.digest, now) for one in asked.envelopes
        ),
        # What was asked before in a session that the peer has lost did not arrive.
        ask_again=(sender,),
    )
    return state, changes, (SessionRenewed(sender),)


def _receive_resent(
    state: PeerState, opened: Opened, now: int
) -> tuple[PeerState, Changes, tuple[Event, ...]]:
    sender = opened.arrived.topic.sender
    settled = RESENT.decode(opened.content.body).envelope_ids
    changes = replace(
        remembered(state, opened, now),
        candidates_gone=tuple((sender, one) for one in settled),
    )
    return state, changes, ()


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
    return OpenedEnvelope(
        topic.sender,
        topic.envelope_id,
        opened.arrived.digest,
        message_id,
        now,
        position_of(opened.arrived.envelope),
    )


def _with_streams(state: PeerState, *positions: StreamPosition) -> PeerState:
    moved = {(one.device, one.stream_id): one for one in positions}
    streams = {**state.streams, **moved}
    return replace(state, streams={key: one for key, one in streams.items() if not one.gone})
