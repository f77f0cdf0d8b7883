"""Encoded public keys: a type byte, then the raw key; no two kinds share an encoding.

Whether the bytes are a *good* key is for ``client_sdk.core.keys`` to decide.
"""

from typing import Annotated, Final, NewType

from pydantic import Field

X25519_TYPE: Final = 0x01
ED25519_TYPE: Final = 0x02
ML_KEM_768_TYPE: Final = 0x03
ML_KEM_1024_TYPE: Final = 0x04

X25519_ENCODED_BYTES: Final = 33
ED25519_ENCODED_BYTES: Final = 33
ML_KEM_768_ENCODED_BYTES: Final = 1185
ML_KEM_768_CIPHERTEXT_BYTES: Final = 1088
ML_KEM_1024_ENCODED_BYTES: Final = 1569
ML_KEM_1024_CIPHERTEXT_BYTES: Final = 1568
SIGNATURE_BYTES: Final = 64

AccountKey = NewType("AccountKey", bytes)
"""Ed25519, 33 bytes encoded; signs a user's device list."""

SigningKey = NewType("SigningKey", bytes)
"""Ed25519, 33 bytes encoded; signs a device's prekeys and directory requests."""

IdentityKey = NewType("IdentityKey", bytes)
"""X25519, 33 bytes encoded; a device's long-term Diffie-Hellman key."""

EphemeralKey = NewType("EphemeralKey", bytes)
"""X25519, 33 bytes encoded; one handshake's."""

SignedPrekey = NewType("SignedPrekey", bytes)
"""X25519, 33 bytes encoded; medium term."""

OneTimePrekey = NewType("OneTimePrekey", bytes)
"""X25519, 33 bytes encoded; handed out once ever."""

RatchetKey = NewType("RatchetKey", bytes)
"""X25519, 33 bytes encoded; one Diffie-Hellman ratchet step's."""

KemPrekey = NewType("KemPrekey", bytes)
"""ML-KEM-1024, 1,569 bytes encoded; one-time or last-resort."""

KemRatchetKey = NewType("KemRatchetKey", bytes)
"""ML-KEM-768, 1,185 bytes encoded; one epoch's of the post-quantum ratchet."""

Signature = NewType("Signature", bytes)
"""Ed25519, 64 bytes."""

X25519Field = Field(min_length=X25519_ENCODED_BYTES, max_length=X25519_ENCODED_BYTES)
Ed25519Field = Field(min_length=ED25519_ENCODED_BYTES, max_length=ED25519_ENCODED_BYTES)
KemField = Field(min_length=ML_KEM_1024_ENCODED_BYTES, max_length=ML_KEM_1024_ENCODED_BYTES)
SignatureField = Field(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)
KemCiphertext = Annotated[
    bytes,
    Field(min_length=ML_KEM_1024_CIPHERTEXT_BYTES, max_length=ML_KEM_1024_CIPHERTEXT_BYTES),
]
"""ML-KEM-1024 ciphertext, 1,568 bytes."""
