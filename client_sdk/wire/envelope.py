"""The envelope that a broker carries: a short plain frame around one ciphertext."""

from enum import IntEnum
from typing import Annotated, Final, NamedTuple

from pydantic import Field

from client_sdk.wire.codec import Codec, encode
from client_sdk.wire.encoded_keys import (
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
"""X25519, ML-KEM-1024, ML-KEM-768, HKDF- and HMAC-SHA-256, AES-256-GCM-SIV, Ed25519."""

TAG_BYTES: Final = 16
SESSION_TAG_BYTES: Final = 8
MAX_PQ_MESSAGE_BYTES: Final = 106
"""The post-quantum ratchet's message in a header, one chunk included: see ``wire.pq_message``."""

MAX_MESSAGE_NUMBER: Final = 2**32 - 1

MESSAGE_CONTEXT: Final = "RatchetMQ/1 message"


class EnvelopeKind(IntEnum):
    """What an envelope's header is; kinds never share a ciphertext."""

    PREKEY_MESSAGE = 1
    MESSAGE = 2


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


ENVELOPE: Final = Codec(Envelope, MAX_ENVELOPE_BYTES)
RATCHET_HEADER: Final = Codec(RatchetHeader, MAX_HEADER_BYTES)
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
    return encode(
        (
            MESSAGE_CONTEXT,
            PROTOCOL_VERSION,
            SUITE,
            kind,
            session_id,
            sender,
            recipient,
            envelope_id,
            header,
        )
    )
