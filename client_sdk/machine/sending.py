"""From a message to the envelopes for every device of its recipient."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from client_sdk.core.fresh_keys import NO_KEYS, NOTHING_WANTED, FreshKeys, WantedKeys
from client_sdk.core.session import (
    InitiatorKeys,
    Session,
    encrypt,
    initiate_session,
    keys_wanted,
)
from client_sdk.core.session_record import SessionRecord, promote, update
from client_sdk.core.signatures import verify_bundle
from client_sdk.machine.changes import Changes
from client_sdk.machine.device import OwnDevice
from client_sdk.machine.errors import DeviceListError, NoSessionError
from client_sdk.machine.rows import Late, Message, OutboxEnvelope, Planned, ReceiptDue
from client_sdk.machine.state import PeerState, based_on, remote_device
from client_sdk.wire.bundle import PrekeyBundle, list_mark
from client_sdk.wire.codec import encode
from client_sdk.wire.content import (
    Content,
    ContentKind,
    ListMark,
    MessageBody,
    ReceiptBody,
    SeenStream,
    encode_message_body,
    pad,
)
from client_sdk.wire.ids import DeviceAddress, EnvelopeId, MessageId, StreamId
from client_sdk.wire.limits import MAX_LAST_SEEN, MAX_RECEIPT_IDS

RENEW_AFTER: Final = 600
"""Messages in one sending chain without an answer before a new session is started: over the
envelopes that may lie on the broker, and well under the jump that a peer accepts."""

NO_STREAM = StreamId(bytes(8))
"""The stream of receipts: none."""


@dataclass(frozen=True, slots=True)
class FreshEnvelope:
    """What one encryption for one device draws: an envelope id, and the keys that it wants."""

    envelope_id: EnvelopeId
    keys: FreshKeys = field(default=NO_KEYS, repr=False)


FreshEnvelopes = Mapping[DeviceAddress, FreshEnvelope]


@dataclass(frozen=True, slots=True)
class FreshReceipt:
    """What one receipt draws."""

    message_id: MessageId
    envelopes: FreshEnvelopes


def writable(state: PeerState) -> tuple[DeviceAddress, ...]:
    """Return the active devices that the next message can be encrypted for at once."""
    unusable = set(without_session(state)) | state.late
    return tuple(one for one in state.devices if one not in unusable)


def without_session(state: PeerState) -> tuple[DeviceAddress, ...]:
    """Return the active devices that cannot be written to before a bundle is fetched.

    A session whose sending chain has grown long without an answer counts as none: were the
    next message too far ahead of what the peer has, the peer could never open another.
    """
    return tuple(one for one in state.devices if not _usable(_current(state, one)))


def fresh_keys_wanted(state: PeerState, device: DeviceAddress) -> WantedKeys:
    """Return which fresh keys the next encryption for ``device`` takes."""
    session = _current(state, device)
    return NOTHING_WANTED if session is None else keys_wanted(session)


def start_session(
    own: OwnDevice, state: PeerState, bundle: PrekeyBundle, fresh: InitiatorKeys, now: int
) -> PeerState:
    """Return the state with a new current session with the bundle's device.

    Raises:
        DeviceListError: The bundle's list is not the known one; adopt it first.
        ProtocolError: A signature or key of the bundle is bad; nothing changed.
        StaleBundleError: The device has not renewed its prekeys for too long.
    """
    if state.device_list != bundle.device_list:
        raise DeviceListError("the bundle comes with another device list; nothing was sent")
    remote = remote_device(state, bundle.address)
    if remote is None:
        raise DeviceListError("the bundle is of a device that is not listed; nothing was sent")
    verify_bundle(bundle, now)
    session = initiate_session(own.local, remote, bundle, fresh)
    record = state.sessions.get(bundle.address, SessionRecord())
    sessions = {**state.sessions, bundle.address: promote(record, session, now)}
    return replace(state, sessions=sessions)


def plan_message(
    own: OwnDevice, state: PeerState, message: Message, fresh: FreshEnvelopes, now: int
) -> tuple[PeerState, Changes]:
    """Give a queued message its place in the stream and encrypt it for the devices in ``fresh``.

    The recipient's other devices, and one's own, get it later.

    The changed sessions are in the returned state; the caller adds their rows once for all
    messages of one step.

    Raises:
        NoSessionError: ``fresh`` names no device, or one without session; nothing changed.
    """
    sequence = state.peer.next_sequence
    stream_id = own.record.stream_id
    content = message_content(own, state, message._replace(stream_id=stream_id, sequence=sequence))
    sealed, envelopes = seal(state, content, fresh, message.message_id, now)
    behind = tuple(one for one in state.devices if one not in fresh)
    late = [Late(message.message_id, one, state.user) for one in behind]
    late += [Late(message.message_id, one, own.user) for one in own.others]
    moved = replace(sealed, peer=sealed.peer._replace(next_sequence=sequence + 1))
    return moved, Changes(
        based_on=based_on(state),
        planned=(Planned(message.message_id, stream_id, sequence),),
        envelopes=envelopes,
        late=tuple(late),
    )


def message_body(message: Message) -> MessageBody:
    """Return what of a stored message is sent."""
    return MessageBody(
        message.text, message.data, message.content_type, message.reply_to, message.expires_at
    )


def message_content(own: OwnDevice, state: PeerState, message: Message) -> Content:
    """Return what is sealed of a message that has its place in a stream."""
    return Content(
        message_id=message.message_id,
        stream_id=NO_STREAM if message.stream_id is None else message.stream_id,
        sequence=message.sequence,
        last_seen=last_seen(state),
        sent_at=message.sent_at,
        kind=ContentKind.MESSAGE,
        body=encode_message_body(message_body(message)),
        sender_list=own.mark,
        recipient_list=recipient_mark(state),
    )


def plan_receipts(
    own: OwnDevice,
    state: PeerState,
    due: Sequence[ReceiptDue],
    fresh: FreshReceipt,
    now: int,
) -> tuple[PeerState, Changes]:
    """Encrypt one receipt for up to ``MAX_RECEIPT_IDS`` messages of one kind.

    Args:
        own: This device.
        state: The sender of those messages.
        due: All delivered or all read.
        fresh: A fresh id for the receipt itself, ids and keys for each device.
        now: ms since 1970.

    Raises:
        NoSessionError: There is no session to send it in.
    """
    chosen = tuple(due[:MAX_RECEIPT_IDS])
    content = Content(
        message_id=fresh.message_id,
        stream_id=NO_STREAM,
        sequence=0,
        last_seen=(),
        sent_at=now,
        kind=ContentKind.READ if chosen[0].read else ContentKind.DELIVERED,
        body=encode(ReceiptBody(tuple(one.message_id for one in chosen))),
        sender_list=own.mark,
        recipient_list=recipient_mark(state),
    )
    sealed, envelopes = seal(state, content, fresh.envelopes, None, now)
    return sealed, Changes(based_on=based_on(state), envelopes=envelopes, receipts_sent=chosen)


def seal(
    state: PeerState,
    content: Content,
    fresh: FreshEnvelopes,
    message_id: MessageId | None,
    now: int,
) -> tuple[PeerState, tuple[OutboxEnvelope, ...]]:
    """Encrypt one content for every device in ``fresh``, each with the start of its stream.

    A start that the content has already stands.

    Raises:
        NoSessionError: There is no such device, or one of them has no session; nothing changed.
    """
    if not fresh:
        raise NoSessionError("no device of the recipient has a session yet")
    sessions, starts = dict(state.sessions), dict(state.starts)
    padded: dict[int, bytes] = {}
    envelopes: list[OutboxEnvelope] = []
    for device, one in fresh.items():
        record = sessions.get(device)
        if record is None or record.current is None:
            raise NoSessionError("a device of the recipient has no session yet")
        start = content.stream_start
        if content.sequence and not start:  # receipts stand in no stream
            first = starts.get(device) or content.sequence
            start = starts[device] = min(first, content.sequence)
        if start not in padded:
            padded[start] = pad(encode(content._replace(stream_start=start)))
        session, payload = encrypt(record.current, one.envelope_id, padded[start], one.keys)
        sessions[device] = update(record, session)
        envelopes.append(
            outbox_envelope(state, device, (one.envelope_id, payload), message_id, now)
        )
    return replace(state, sessions=sessions, starts=starts), tuple(envelopes)


def start_alone(own: OwnDevice, stream_id: StreamId, sequence: int) -> int:
    """Return the start of a message that is left from an earlier stream of this device; else 0.

    Which device was sent what of that stream is not known any more, so none is to wait behind it.
    """
    return 0 if stream_id == own.record.stream_id else sequence


def outbox_envelope(
    state: PeerState,
    device: DeviceAddress,
    sealed: tuple[EnvelopeId, bytes],
    message_id: MessageId | None,
    now: int,
) -> OutboxEnvelope:
    """Return the row of a sealed envelope for ``device``, with the key that it was made for."""
    remote = remote_device(state, device)
    identity_key = b"" if remote is None else remote.identity_key
    envelope_id, payload = sealed
    return OutboxEnvelope(
        envelope_id, device, state.user, message_id, payload, now, identity_key=identity_key
    )


def _current(state: PeerState, device: DeviceAddress) -> Session | None:
    record = state.sessions.get(device)
    return None if record is None else record.current


def _usable(session: Session | None) -> bool:
    if session is None:
        return False
    chain = session.ratchet.sending
    return chain is None or chain.next_number < RENEW_AFTER


def last_seen(state: PeerState) -> tuple[SeenStream, ...]:
    """Return the newest number that was seen of each stream of a user."""
    seen = (
        SeenStream(one.device, one.stream_id, one.next_sequence - 1)
        for one in state.streams.values()
    )
    return tuple(sorted(seen))[:MAX_LAST_SEEN]


def recipient_mark(state: PeerState) -> ListMark:
    """Return the recipient's device list as it is known here."""
    if state.device_list is None:
        raise NoSessionError("no device list of the recipient is known yet")
    return list_mark(state.device_list)
