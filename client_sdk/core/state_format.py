"""Session records as bytes for the store: a version byte, then canonical msgpack.

Keys of messages that have not come are packed side by side (36 bytes each), not as arrays.
"""

import struct
from typing import Annotated, Final, NamedTuple

from pydantic import Field

from client_sdk.core.chain import (
    CHAIN_TAG_BYTES,
    MAX_CHAIN_LENGTH,
    ClosedChain,
    ReceivingChain,
    SendingChain,
)
from client_sdk.core.errors import NewerStateError, StateFormatError
from client_sdk.core.kdf import (
    KEY_BYTES,
    ChainKey,
    EpochKey,
    PqRootKey,
    RootKey,
)
from client_sdk.core.keys import EncodedX25519, X25519KeyPair, parse_x25519
from client_sdk.core.pq_ratchet import Answering
from client_sdk.core.pq_state_format import StoredPq, parsed_pq, stored_pq
from client_sdk.core.ratchet import MAX_SKIPPED_KEYS, RatchetState
from client_sdk.core.session import Role, Session, SessionLink
from client_sdk.core.session_record import MAX_ARCHIVED_SESSIONS, ArchivedSession, SessionRecord
from client_sdk.core.skipped_keys import ENTRY_BYTES, SkippedKeys
from client_sdk.core.triple_ratchet import ChainKeys, RootKeys
from client_sdk.wire.codec import Codec, encode
from client_sdk.wire.content import AddressField, Counter
from client_sdk.wire.encoded_keys import AccountKey, Ed25519Field, X25519Field
from client_sdk.wire.envelope import MAX_MESSAGE_NUMBER, HandshakeHeader
from client_sdk.wire.errors import ProtocolError
from client_sdk.wire.ids import SESSION_ID_BYTES, SessionId
from client_sdk.wire.limits import KIB
from client_sdk.wire.pq_message import MAX_EPOCH

STATE_VERSION: Final = 2
"""Raised with every change of these bytes; newer ones are refused. Version 1 had another key
schedule, so its sessions cannot go on: as with damaged ones, new sessions take their place."""

HEARD_VERSION: Final = 3
"""Version 2 behind 8 bytes of when the peer sealed the newest content; of none, 2 is written."""

MAX_STATE_BYTES: Final = 1024 * KIB
"""Six sessions with all their skipped keys have about 650 KiB."""

MAX_LINK_BYTES: Final = 256
"""What never changes in a session has at most 213 bytes."""

_VERSION_BYTE: Final = bytes((STATE_VERSION,))
_HEARD_VERSION_BYTE: Final = bytes((HEARD_VERSION,))
_HEARD: Final = struct.Struct(">BQ")
_CLOSED: Final = struct.Struct(f">{CHAIN_TAG_BYTES}sQH")

_Key = Annotated[bytes, Field(min_length=KEY_BYTES, max_length=KEY_BYTES)]
_Hash = Annotated[bytes, Field(min_length=SESSION_ID_BYTES, max_length=SESSION_ID_BYTES)]
_Account = Annotated[AccountKey, Ed25519Field]
_ChainLength = Annotated[int, Field(ge=0, le=MAX_CHAIN_LENGTH)]
# A peer's number is at most what its header can hold, one more than ours.
_RECEIVED_LENGTH: Final = MAX_MESSAGE_NUMBER + 1
_ReceivedLength = Annotated[int, Field(ge=0, le=_RECEIVED_LENGTH)]


class _Sending(NamedTuple):
    ec_key: _Key
    pq_key: _Key
    next_number: _ChainLength


class _Receiving(NamedTuple):
    ratchet_key: Annotated[bytes, X25519Field]
    ec_key: _Key
    pq_key: _Key
    next_number: _ReceivedLength
    skipped: bytes


class _Ratchet(NamedTuple):
    ec_root: _Key
    pq_root: _Key
    epoch: Annotated[int, Field(ge=0, le=MAX_EPOCH)]
    waiting: _Key | None
    own_private: _Key
    sending: _Sending | None
    receiving: _Receiving | None
    closed: bytes
    previous_chain_length: _ChainLength
    pq_ratchet: StoredPq


class _Link(NamedTuple):
    session_id: _Hash
    role: Annotated[int, Field(ge=Role.INITIATOR, le=Role.RESPONDER)]
    local: AddressField
    remote: AddressField
    local_account_key: _Account
    remote_account_key: _Account
    handshake_digest: _Hash


class _Session(NamedTuple):
    link: Annotated[bytes, Field(max_length=MAX_LINK_BYTES)]
    handshake: HandshakeHeader | None
    acknowledged: bool
    ratchet: _Ratchet


class _Archived(NamedTuple):
    session: _Session
    archived_at: Counter


class _Record(NamedTuple):
    current: _Session | None
    archived: Annotated[tuple[_Archived, ...], Field(max_length=MAX_ARCHIVED_SESSIONS)]


_LINK: Final = Codec(_Link, MAX_LINK_BYTES)
_RECORD: Final = Codec(_Record, MAX_STATE_BYTES)


def serialize_record(record: SessionRecord) -> bytes:
    """Return the bytes of all sessions with one device; they hold private keys.

    One session has at most 4 KB and at most 60 bytes for each skipped key.
    """
    current = None if record.current is None else _stored_session(record.current)
    archived = [(_stored_session(old.session), old.archived_at) for old in record.archived]
    packed = encode((current, archived))
    if not record.heard_at:
        return _VERSION_BYTE + packed
    return _HEARD.pack(HEARD_VERSION, record.heard_at) + packed


def parse_record(data: bytes) -> SessionRecord:
    """Return the record that ``serialize_record`` made ``data`` of.

    Raises:
        NewerStateError: A newer version of this software wrote it; nothing was changed.
        StateFormatError: ``data`` is damaged; nothing was changed.
    """
    if data[:1] > _HEARD_VERSION_BYTE:
        raise NewerStateError(
            f"the session state has format {data[0]}, this software reads up to {HEARD_VERSION}; "
            "nothing was changed; use the newer version again"
        )
    if data and data[:1] < _VERSION_BYTE:
        raise StateFormatError(
            f"the session state has format {data[0]}, whose keys this software cannot take on; "
            "it was left as it is; a new session takes its place"
        )
    try:
        heard_at, start = 0, len(_VERSION_BYTE)
        if data[:1] > _VERSION_BYTE:
            (_, heard_at), start = _HEARD.unpack_from(data), _HEARD.size
        stored = _RECORD.decode(data[start:])
        return SessionRecord(
            None if stored.current is None else _parsed_session(stored.current),
            tuple(ArchivedSession(_parsed_session(old[0]), old[1]) for old in stored.archived),
            heard_at,
        )
    except (ProtocolError, struct.error):
        raise _damaged() from None


def _stored_session(session: Session) -> tuple[object, ...]:
    link, state, handshake, acknowledged = session
    roots, pq, own, sending, receiving, closed, previous_chain_length = state
    ratchet = (
        *roots,
        own.private_bytes(),
        None if sending is None else (*sending.keys, sending.next_number),
        None if receiving is None else _stored_receiving(receiving),
        _packed_closed(closed),
        previous_chain_length,
        stored_pq(pq),
    )
    return link.encoded, handshake, acknowledged, ratchet


def _stored_receiving(chain: ReceivingChain) -> tuple[object, ...]:
    ratchet_key, keys, next_number, skipped = chain
    return ratchet_key, *keys, next_number, skipped.packed


def _packed_closed(closed: tuple[ClosedChain, ...]) -> bytes:
    packed: list[bytes] = []
    for tag, next_number, skipped in closed:
        packed += (_CLOSED.pack(tag, next_number, skipped.count), skipped.packed)
    return b"".join(packed)


def _parsed_session(stored: _Session) -> Session:
    known = _LINK.decode(stored.link)
    link = SessionLink(SessionId(known.session_id), Role(known.role), *known[2:])
    return Session(link, _parsed_ratchet(stored.ratchet), stored.handshake, stored.acknowledged)


def _parsed_ratchet(stored: _Ratchet) -> RatchetState:
    sending = None
    if stored.sending is not None:
        ec_key, pq_key, next_number = stored.sending
        sending = SendingChain(ChainKeys(ChainKey(ec_key), ChainKey(pq_key)), next_number)
    receiving = None
    if stored.receiving is not None:
        ratchet_key, ec_key, pq_key, next_number, packed = stored.receiving
        parse_x25519(ratchet_key)
        receiving = ReceivingChain(
            EncodedX25519(ratchet_key),
            ChainKeys(ChainKey(ec_key), ChainKey(pq_key)),
            next_number,
            _parsed_skipped(packed, next_number),
        )
    closed = _parsed_closed(stored.closed)
    kept = sum(len(chain.skipped) for chain in closed)
    if kept + (0 if receiving is None else len(receiving.skipped)) > MAX_SKIPPED_KEYS:
        raise _damaged()
    pq, waiting = parsed_pq(stored.pq_ratchet), stored.waiting
    # An epoch's key is given out once, and waits until a chain takes it in.
    fits = pq.epoch == stored.epoch + (waiting is not None)
    if not fits or (waiting is None and isinstance(pq.stage, Answering)):
        raise _damaged()
    return RatchetState(
        RootKeys(
            RootKey(stored.ec_root),
            PqRootKey(stored.pq_root),
            stored.epoch,
            None if waiting is None else EpochKey(waiting),
        ),
        pq,
        X25519KeyPair.from_private_bytes(stored.own_private),
        sending,
        receiving,
        closed,
        stored.previous_chain_length,
    )


def _parsed_skipped(packed: bytes, next_number: int) -> SkippedKeys:
    skipped = SkippedKeys.from_packed(packed)
    numbers = skipped.numbers()
    if numbers != sorted(set(numbers)) or (numbers and numbers[-1] >= next_number):
        raise _damaged()
    return skipped


def _parsed_closed(packed: bytes) -> tuple[ClosedChain, ...]:
    chains, at = [], 0
    while at < len(packed):
        tag, next_number, count = _CLOSED.unpack_from(packed, at)
        at += _CLOSED.size
        end = at + count * ENTRY_BYTES
        if end > len(packed) or next_number > _RECEIVED_LENGTH:
            raise _damaged()
        chains.append(ClosedChain(tag, next_number, _parsed_skipped(packed[at:end], next_number)))
        at = end
    return tuple(chains)


def _damaged() -> StateFormatError:
    return StateFormatError(
        "the stored session state is damaged; it was left as it is; a new session heals it"
    )
