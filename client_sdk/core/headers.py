"""Headers of envelopes, decoded and checked once."""

import hashlib
from functools import lru_cache
from typing import Final, NamedTuple

from client_sdk.core.ratchet import Position
from client_sdk.wire.codec import encode
from client_sdk.wire.envelope import (
    PREKEY_HEADER,
    RATCHET_HEADER,
    EnvelopeKind,
    HandshakeHeader,
    RatchetHeader,
)
from client_sdk.wire.pq_message import decode_pq_message

DECODED_HEADERS: Final = 8
"""Headers kept: one is looked at before its session is known, and again when it is."""

_PREKEY_MESSAGE: Final = int(EnvelopeKind.PREKEY_MESSAGE)


class DecodedHeader(NamedTuple):
    """A header as it is used; the digest is that of its handshake, if it has one."""

    ratchet: RatchetHeader
    position: Position
    digest: bytes | None


@lru_cache(maxsize=DECODED_HEADERS)
def decoded_header(kind: int, header: bytes) -> DecodedHeader:
    """Return what an envelope's header says.

    Args:
        kind: The envelope's kind.
        header: The envelope's header, at most ``MAX_HEADER_BYTES``.

    Raises:
        MalformedError: It is not a header of that kind, or its post-quantum message is none.
    """
    if kind == _PREKEY_MESSAGE:
        handshake, decoded = PREKEY_HEADER.decode(header)
        digest = handshake_digest(handshake)
    else:
        decoded, digest = RATCHET_HEADER.decode(header), None
    _, key, previous_chain_length, number, pq = decoded
    place = (key, previous_chain_length, number, decode_pq_message(pq))
    return tuple.__new__(DecodedHeader, (decoded, tuple.__new__(Position, place), digest))


def handshake_digest(handshake: HandshakeHeader) -> bytes:
    """Return the 32 bytes by which a session knows its own handshake again."""
    return hashlib.sha256(encode(handshake)).digest()
