"""From an envelope to its content: authenticated and opened, or nothing has changed."""

import hashlib
from dataclasses import replace
from typing import Final

from client_sdk.core.errors import UnknownSessionError
from client_sdk.core.headers import decoded_header
from client_sdk.core.session import (
    Role,
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
    heard,
    promote,
    update,
)
from client_sdk.machine.accepting import begun_session
from client_sdk.machine.changes import Changes
from client_sdk.machine.device import OwnDevice
from client_sdk.machine.received import Arrived, HandshakeInput, Opened
from client_sdk.machine.rows import AcceptedHandshake, PrekeyKind
from client_sdk.machine.state import PeerState
from client_sdk.machine.streams import newest_sequence
from client_sdk.wire.bundle import MAX_CLOCK_SKEW_MS
from client_sdk.wire.content import CONTENT, Content, ContentKind, unpad
from client_sdk.wire.envelope import ENVELOPE, Envelope, HandshakeHeader, PrekeyHeader
from client_sdk.wire.healing import RESEND_REQUEST
from client_sdk.wire.ids import DeviceAddress
from client_sdk.wire.topics import InboxTopic

POSITION_BYTES: Final = 8
"""Names one place in one chain: two alike by chance cost one false suspicion in 2^64."""


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


def position_of(envelope: Envelope) -> bytes:
    """Return 8 bytes that name the session, the chain and the number that an envelope claims.

    Raises:
        MalformedError: Its header is not a header.
    """
    header = decoded_header(envelope.kind, envelope.header).ratchet
    number = header.message_number.to_bytes(8)
    place = header.session_tag + header.ratchet_key + number
    return hashlib.sha256(place).digest()[:POSITION_BYTES]


def replay_digest(handshake: HandshakeHeader) -> bytes:
    """Return what the replay cache keeps of a handshake: SHA-256(EK ‖ KEM ciphertext).

    A session knows its own handshake by ``core.headers.handshake_digest``, which is over all of it.
    """
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
        moved = _heard(update(record, session), content, now)
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
        handshakes=(_remembered(handshake.header.handshake),),
    )
    moved = _heard(moved, content, now)
    return _with_record(state, sender, moved), Opened(arrived, content, changes)


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
    if content.kind == ContentKind.RESEND_REQUEST and (
        current.acknowledged or current.tag in RESEND_REQUEST.decode(content.body).session_tags
    ):
        return True  # the peer cannot read what is sent in the current one
    if not current.acknowledged:
        return crossing(current, session)
    known = state.streams.get((sender, content.stream_id))
    if content.sequence and known is not None and content.sequence <= newest_sequence(known):
        return False
    if content.sent_at > record.heard_at:
        return True
    return current.role is Role.INITIATOR and crossing(current, session)


def _heard(record: SessionRecord, content: Content, now: int) -> SessionRecord:
    # A clock that was ahead for a moment must not have all that comes later taken for late.
    return heard(record, min(content.sent_at, now + MAX_CLOCK_SKEW_MS))


def _remembered(handshake: HandshakeHeader) -> AcceptedHandshake:
    return AcceptedHandshake(replay_digest(handshake), handshake.signed_prekey_id)


def _content(padded: bytes) -> Content:
    return CONTENT.decode(unpad(padded))


def _with_record(state: PeerState, device: DeviceAddress, record: SessionRecord) -> PeerState:
    return replace(state, sessions={**state.sessions, device: record})
