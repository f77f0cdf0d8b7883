"""Sealing to a long-term public key without a session: enrolment requests to the directory."""

from dataclasses import dataclass, field
from typing import Final, NewType, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from client_sdk.core.errors import AuthenticationError, InvalidKeyError
from client_sdk.core.keys import parse_x25519
from client_sdk.wire.encoded_keys import X25519_TYPE

HpkePublicKey = NewType("HpkePublicKey", bytes)
"""ML-KEM-768 key (1,184 bytes), X25519 key (32): 1,216 bytes, a length no other key has."""

HPKE_PUBLIC_BYTES: Final = 1184 + 32
HPKE_PRIVATE_BYTES: Final = 64 + 32

_SUITE: Final = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


@dataclass(frozen=True, slots=True)
class HpkeKeyPair:
    """A hybrid sealing key pair; ``public`` is the 1,216-byte encoding."""

    ml_kem: MLKEM768PrivateKey = field(repr=False, compare=False)
    x25519: X25519PrivateKey = field(repr=False, compare=False)
    public: HpkePublicKey

    @classmethod
    def from_private(cls, ml_kem: MLKEM768PrivateKey, x25519: X25519PrivateKey) -> Self:
        """Return the pair of two live private keys."""
        public = ml_kem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
        return cls(ml_kem, x25519, HpkePublicKey(public))

    @classmethod
    def from_private_bytes(cls, data: bytes) -> Self:
        """Return the pair of what ``private_bytes`` gave.

        Raises:
            InvalidKeyError: ``data`` does not have 96 bytes.
        """
        if len(data) != HPKE_PRIVATE_BYTES:
            raise InvalidKeyError(f"HPKE private key: {len(data)} bytes, expected 96")
        return cls.from_private(
            MLKEM768PrivateKey.from_seed_bytes(data[:64]),
            X25519PrivateKey.from_private_bytes(data[64:]),
        )

    def private_bytes(self) -> bytes:
        """Return the ML-KEM seed (64 bytes) and the X25519 key (32), for storage only."""
        return self.ml_kem.private_bytes_raw() + self.x25519.private_bytes_raw()

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """Return what ``seal`` was given.

        Args:
            sealed: Encapsulation and ciphertext, as ``seal`` returns them.
            info: The context string that the sealer gave; another one does not open.

        Raises:
            AuthenticationError: It was changed, or sealed to another key or context.
        """
        try:
            return _SUITE.decrypt(sealed, MLKEM768X25519PrivateKey(self.ml_kem, self.x25519), info)
        except (InvalidTag, ValueError):
            raise AuthenticationError("the sealed bytes do not open; they were dropped") from None


def parse_hpke_public(encoded: bytes) -> MLKEM768X25519PublicKey:
    """Return a usable key for its 1,216-byte encoding.

    Raises:
        InvalidKeyError: Wrong length, or either half is not a good key.
    """
    if len(encoded) != HPKE_PUBLIC_BYTES:
        raise InvalidKeyError("not an HPKE public key; it was dropped")
    x25519 = parse_x25519(bytes((X25519_TYPE,)) + encoded[-32:])
    try:
        ml_kem = MLKEM768PublicKey.from_public_bytes(encoded[:-32])
    except ValueError:
        raise InvalidKeyError("not a good ML-KEM-768 public key; it was dropped") from None
    return MLKEM768X25519PublicKey(ml_kem, x25519)


def seal(public: bytes, plaintext: bytes, info: bytes) -> bytes:
    """Return ``plaintext`` sealed so that only the owner of ``public`` can open it.

    Draws its own randomness inside the primitive: the one place of this layer that does.

    Raises:
        InvalidKeyError: ``public`` is not a good key.

    Source: RFC 9180, base mode, single shot.
    """
    return _SUITE.encrypt(plaintext, parse_hpke_public(public), info)
