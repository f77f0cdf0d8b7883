"""The envelope that a broker carries: a short plain frame around one ciphertext."""

import re
from enum import IntEnum
from functools import lru_cache
from typing import Annotated, Final, NamedTuple

import msgpack
from pydantic import Field

from client_sdk.wire.codec import Codec, encode
from client_sdk.wire.encoded_keys import (
    X25519_ENCODED_BYTES,
    AccountKey,
    Ed25519Field,
    EphemeralKey,
    IdentityKey,
    KemCiphertext,
    RatchetKey,
    SigningKey,
    X25519Field,
)
from client_sdk.wire.ids import DeviceAddress, EnvelopeId, SessionId
from client_sdk.wire.limits import (
    MAX_COUNTER,
    MAX_ENVELOPE_BYTES,
    MAX_HEADER_BYTES,
    MAX_PADDED_CONTENT_BYTES,
    PADDING_BUCKETS,
)

PROTOCOL_VERSION: Final = 1
SUITE: Final = 1
"""X25519, ML-KEM-1024, ML-KEM-768, HKDF- and HMAC-SHA-256, the one-step KDF with SHA-512,
AES-256-GCM-SIV, Ed25519."""

TAG_BYTES: Final = 16
SESSION_TAG_BYTES: Final = 8
MAX_PQ_MESSAGE_BYTES: Final = 106
"""The post-quantum ratchet's message in a header, one chunk included: see ``wire.pq_message``."""

MAX_MESSAGE_NUMBER: Final = 2**32 - 1

MESSAGE_CONTEXT: Final = "RatchetMQ/1 message"

CACHED_PARTIES: Final = 256
"""Beginnings of associated data kept, about 130 bytes each: one a session and direction."""

_ID_CHARACTERS: Final = 26
_NO_HEADER: Final = b"\xc4\x00"


class EnvelopeKind(IntEnum):
    """What an envelope's header is; kinds never share a ciphertext."""

    PREKEY_MESSAGE = 1
    MESSAGE = 2


_MESSAGE: Final = int(EnvelopeKind.MESSAGE)

Number = Annotated[int, Field(ge=0, le=MAX_MESSAGE_NUMBER)]
KeyId = Annotated[int, Field(ge=1, le=MAX_COUNTER)]
Version = Annotated[int, Field(ge=1, le=MAX_COUNTER)]


class Envelope(NamedTuple):
    """What is published: version, suite and kind in the clear, header and ciphertext."""

    version: Annotated[int, Field(ge=PROTOCOL_VERSION, le=PROTOCOL_VERSION)]
    suite: Annotated[int, Field(ge=SUITE, le=SUITE)]
    kind: Annotated[int, Field(ge=EnvelopeKind.PREKEY_MESSAGE, le=EnvelopeKind.MESSAGE)]
    header: Annotated[bytes, Field(max_length=MAX_HEADER_BYTES)]
    ciphertext: Annotated[
        bytes,
        Field(
            min_length=PADDING_BUCKETS[0] + TAG_BYTES,
            max_length=MAX_PADDED_CONTENT_BYTES + TAG_BYTES,
        ),
    ]


class RatchetHeader(NamedTuple):
    """The header of a message: where in the session's chains its key lies."""

    session_tag: Annotated[bytes, Field(min_length=SESSION_TAG_BYTES, max_length=SESSION_TAG_BYTES)]
    ratchet_key: Annotated[RatchetKey, X25519Field]
    previous_chain_length: Number
    message_number: Number
    pq_message: Annotated[bytes, Field(max_length=MAX_PQ_MESSAGE_BYTES)]


class HandshakeHeader(NamedTuple):
    """What the responder needs to compute the same session: keys, ids, KEM ciphertext."""

    account_key: Annotated[AccountKey, Ed25519Field]
    signing_key: Annotated[SigningKey, Ed25519Field]
    identity_key: Annotated[IdentityKey, X25519Field]
    ephemeral_key: Annotated[EphemeralKey, X25519Field]
    signed_prekey_id: KeyId
    one_time_prekey_id: KeyId | None
    kem_prekey_id: KeyId
    kem_ciphertext: KemCiphertext
    sender_list_version: Version
    recipient_list_version: Version


class PrekeyHeader(NamedTuple):
    """The header of a prekey message: the handshake, then the message's own header."""

    handshake: HandshakeHeader
    ratchet: RatchetHeader


# A message after the first has one layout but for the length of two numbers and of the ratchet's
# part, so both records have a shortcut: the layout is compared byte by byte, which says as much as
# validating the fields and encoding them again. A property holds both ways beside each other.

_MESSAGE_FRAME: Final = bytes((0x95, PROTOCOL_VERSION, SUITE, EnvelopeKind.MESSAGE, 0xC4))
"""Array of five: the three numbers, then a byte string whose length is the next byte."""

_MIN_CIPHERTEXT_BYTES: Final = PADDING_BUCKETS[0] + TAG_BYTES
_BIN16: Final = b"\xc5"
_NUMBER: Final = rb"(?:[\x00-\x7f]|\xcc[\x80-\xff]|\xcd(?!\x00)..|\xce(?!\x00\x00)....)"
"""0 to 2^32 - 1, in the shortest of its forms and no other."""

_RATCHET_HEADER: Final = re.compile(
    rb"\x95\xc4%b.{%d}\xc4%b.{%d}%b%b\xc4(?:\x08.{8}|%b.{%d})"
    % (
        re.escape(bytes((SESSION_TAG_BYTES,))),
        SESSION_TAG_BYTES,
        re.escape(bytes((X25519_ENCODED_BYTES,))),
        X25519_ENCODED_BYTES,
        _NUMBER,
        _NUMBER,
        re.escape(bytes((MAX_PQ_MESSAGE_BYTES,))),
        MAX_PQ_MESSAGE_BYTES,
    ),
    re.DOTALL,
)


def known_envelope(data: bytes) -> Envelope | None:
    """Return the envelope of a message whose header has at most 255 bytes, and None for others."""
    if data[:5] != _MESSAGE_FRAME or len(data) < _MIN_CIPHERTEXT_BYTES:
        return None
    end = 6 + data[5]
    start = end + 3
    size = len(data) - start
    if not _MIN_CIPHERTEXT_BYTES <= size < 0x10000 or data[end:start] != _BIN16 + size.to_bytes(2):
        return None
    fields = (PROTOCOL_VERSION, SUITE, _MESSAGE, data[6:end], data[start:])
    return tuple.__new__(Envelope, fields)


def known_ratchet_header(data: bytes) -> RatchetHeader | None:
    """Return the header that ``data`` is, with or without a chunk, and None for anything else."""
    if _RATCHET_HEADER.fullmatch(data) is None:
        return None
    return tuple.__new__(RatchetHeader, msgpack.unpackb(data, use_list=False))


ENVELOPE: Final = Codec(Envelope, MAX_ENVELOPE_BYTES, known_envelope)
RATCHET_HEADER: Final = Codec(RatchetHeader, MAX_HEADER_BYTES, known_ratchet_header)
PREKEY_HEADER: Final = Codec(PrekeyHeader, MAX_HEADER_BYTES)


def associated_data(
    kind: int,
    session_id: SessionId,
    parties: tuple[DeviceAddress, DeviceAddress],
    envelope_id: EnvelopeId,
    header: bytes,
) -> bytes:
    """Return what the AEAD of one message authenticates beside its ciphertext.

    Args:
        kind: The envelope's kind, as ``EnvelopeKind`` numbers them.
        session_id: 32 bytes; stands for every key of the handshake.
        parties: Sending and receiving device, in this order.
        envelope_id: The id in the envelope's topic.
        header: The encoded header, at most ``MAX_HEADER_BYTES``.
    """
    sender, recipient = parties
    name, size = envelope_id.encode(), len(header)
    if size > 0xFF or len(name) != _ID_CHARACTERS:
        facts = (MESSAGE_CONTEXT, PROTOCOL_VERSION, SUITE, kind)
        return encode((*facts, session_id, sender, recipient, envelope_id, header))
    # The same bytes, put together: all but the last two fields are known from message to message.
    begin = _begin_of_data(kind, session_id, sender, recipient)
    return b"%b%b\xc4%c%b" % (begin, name, size, header)


@lru_cache(maxsize=CACHED_PARTIES)
def _begin_of_data(
    kind: int, session_id: SessionId, sender: DeviceAddress, recipient: DeviceAddress
) -> bytes:
    facts = (MESSAGE_CONTEXT, PROTOCOL_VERSION, SUITE, kind)
    whole = encode((*facts, session_id, sender, recipient, "-" * _ID_CHARACTERS, b""))
    return whole[: -_ID_CHARACTERS - len(_NO_HEADER)]
