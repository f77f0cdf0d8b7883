"""Key pairs and public keys; a bad point never gets past parsing.

Private halves are kept as live objects: making one from bytes costs as much as using it.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple, NewType, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM1024PrivateKey, MLKEM1024PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from client_sdk.core.errors import InvalidKeyError, InvalidSignatureError
from client_sdk.wire.encoded_keys import (
    ED25519_ENCODED_BYTES,
    ED25519_TYPE,
    ML_KEM_1024_CIPHERTEXT_BYTES,
    ML_KEM_1024_ENCODED_BYTES,
    ML_KEM_1024_TYPE,
    SIGNATURE_BYTES,
    X25519_ENCODED_BYTES,
    X25519_TYPE,
    KemPrekey,
    Signature,
)

EncodedX25519 = NewType("EncodedX25519", bytes)
"""Any X25519 public key with its type byte, 33 bytes."""

EncodedEd25519 = NewType("EncodedEd25519", bytes)
"""Any Ed25519 public key with its type byte, 33 bytes."""

PRIVATE_KEY_BYTES: Final = 32
ML_KEM_SEED_BYTES: Final = 64
CACHED_PUBLIC_KEYS: Final = 256
"""Parsed public keys kept: the few peers of a device use theirs again and again."""

CACHED_KEM_KEYS: Final = 8
"""ML-KEM keys kept, about 10 KiB each: a bundle's is checked, then encapsulated to."""

CACHED_SIGNATURES: Final = 64
"""Signatures that held, kept with what they cover: a device list is checked when it comes, and
again with the bundle of each of its devices."""

_X25519_PREFIX: Final = bytes((X25519_TYPE,))
_P: Final = 2**255 - 19
_SIGN_BIT: Final = 1 << 255

# u of every point whose order divides 8, on the curve and on its twist (RFC 7748, section 6.1).
_SMALL_ORDER_U: Final = frozenset(
    {
        0,
        1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
        _P - 1,
    }
)

# y of the eight points of small order; x and -x share it, so the sign bit does not matter.
_Y8: Final = 2707385501144840649318225287225658788936804267575313519463743609750303402022
_SMALL_ORDER_Y: Final = frozenset({0, 1, _P - 1, _Y8, _P - _Y8})


class Encapsulation(NamedTuple):
    """One ML-KEM encapsulation: 32 secret bytes, and the bytes that carry them."""

    shared_secret: bytes
    ciphertext: bytes

    def __repr__(self) -> str:
        """Say what it is; show nothing of it."""
        return "Encapsulation(...)"


@dataclass(frozen=True, slots=True)
class X25519KeyPair:
    """An X25519 key pair; ``public`` is the 33-byte encoding."""

    private: X25519PrivateKey = field(repr=False, compare=False)
    public: EncodedX25519

    @classmethod
    def from_private(cls, private: X25519PrivateKey) -> Self:
        """Return the pair of a live private key."""
        raw = private.public_key().public_bytes_raw()
        return cls(private, _X25519_PREFIX + raw)  # type: ignore[arg-type]

    @classmethod
    def from_private_bytes(cls, data: bytes) -> Self:
        """Return the pair of a 32-byte private key.

        Raises:
            InvalidKeyError: ``data`` does not have 32 bytes.
        """
        _need_length(data, PRIVATE_KEY_BYTES, "X25519 private key")
        return cls.from_private(X25519PrivateKey.from_private_bytes(data))

    def private_bytes(self) -> bytes:
        """Return the 32-byte private key, for storage only."""
        return self.private.private_bytes_raw()

    def exchange(self, encoded_public: bytes) -> bytes:
        """Return the 32 bytes shared with the owner of ``encoded_public``.

        Raises:
            InvalidKeyError: It is not a good X25519 key, see ``parse_x25519``.
        """
        return self.private.exchange(parse_x25519(encoded_public))


@dataclass(frozen=True, slots=True)
class Ed25519KeyPair:
    """An Ed25519 key pair; ``public`` is the 33-byte encoding."""

    private: Ed25519PrivateKey = field(repr=False, compare=False)
    public: EncodedEd25519

    @classmethod
    def from_private(cls, private: Ed25519PrivateKey) -> Self:
        """Return the pair of a live private key."""
        raw = private.public_key().public_bytes_raw()
        return cls(private, EncodedEd25519(bytes((ED25519_TYPE,)) + raw))

    @classmethod
    def from_private_bytes(cls, data: bytes) -> Self:
        """Return the pair of a 32-byte private key.

        Raises:
            InvalidKeyError: ``data`` does not have 32 bytes.
        """
        _need_length(data, PRIVATE_KEY_BYTES, "Ed25519 private key")
        return cls.from_private(Ed25519PrivateKey.from_private_bytes(data))

    def private_bytes(self) -> bytes:
        """Return the 32-byte private key, for storage only."""
        return self.private.private_bytes_raw()

    def sign(self, data: bytes) -> Signature:
        """Return the 64-byte signature of ``data``."""
        return Signature(self.private.sign(data))


@dataclass(frozen=True, slots=True)
class MlKem1024KeyPair:
    """An ML-KEM-1024 key pair; ``public`` is the 1,569-byte encoding."""

    private: MLKEM1024PrivateKey = field(repr=False, compare=False)
    public: KemPrekey

    @classmethod
    def from_private(cls, private: MLKEM1024PrivateKey) -> Self:
        """Return the pair of a live private key."""
        raw = private.public_key().public_bytes_raw()
        return cls(private, KemPrekey(bytes((ML_KEM_1024_TYPE,)) + raw))

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        """Return the pair of a 64-byte seed.

        Raises:
            InvalidKeyError: ``seed`` does not have 64 bytes.
        """
        _need_length(seed, ML_KEM_SEED_BYTES, "ML-KEM-1024 seed")
        return cls.from_private(MLKEM1024PrivateKey.from_seed_bytes(seed))

    def seed(self) -> bytes:
        """Return the 64-byte seed, for storage only."""
        return self.private.private_bytes_raw()

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """Return the 32-byte secret in ``ciphertext``; a changed one gives other bytes, no error.

        Raises:
            InvalidKeyError: ``ciphertext`` does not have 1,568 bytes.

        Source: FIPS 203, ML-KEM.Decaps (implicit rejection).
        """
        _need_length(ciphertext, ML_KEM_1024_CIPHERTEXT_BYTES, "ML-KEM-1024 ciphertext")
        return self.private.decapsulate(ciphertext)


@lru_cache(maxsize=CACHED_PUBLIC_KEYS)
def parse_x25519(encoded: bytes) -> X25519PublicKey:
    """Return a usable key for its 33-byte encoding.

    Raises:
        InvalidKeyError: Wrong length or type byte, u >= p (the high bit included), or a point of
            small order, whose shared secret anybody can compute.

    Source: RFC 7748, sections 5 and 6.1.
    """
    _need_length(encoded, X25519_ENCODED_BYTES, "X25519 public key")
    u = int.from_bytes(encoded[1:], "little")
    if encoded[0] != X25519_TYPE or u >= _P or u in _SMALL_ORDER_U:
        raise InvalidKeyError("not a good X25519 public key; it was dropped")
    return X25519PublicKey.from_public_bytes(encoded[1:])


@lru_cache(maxsize=CACHED_PUBLIC_KEYS)
def parse_ed25519(encoded: bytes) -> Ed25519PublicKey:
    """Return a usable key for its 33-byte encoding.

    Raises:
        InvalidKeyError: Wrong length or type byte, y >= p, or a point of small order, under
            which one signature holds for every message.

    Source: RFC 8032, section 5.1.3.
    """
    _need_length(encoded, ED25519_ENCODED_BYTES, "Ed25519 public key")
    y = int.from_bytes(encoded[1:], "little") & ~_SIGN_BIT
    if encoded[0] != ED25519_TYPE or y >= _P or y in _SMALL_ORDER_Y:
        raise InvalidKeyError("not a good Ed25519 public key; it was dropped")
    return Ed25519PublicKey.from_public_bytes(encoded[1:])


@lru_cache(maxsize=CACHED_KEM_KEYS)
def parse_ml_kem_1024(encoded: bytes) -> MLKEM1024PublicKey:
    """Return a usable key for its 1,569-byte encoding.

    Raises:
        InvalidKeyError: Wrong length or type byte, or a coefficient that is not reduced.

    Source: FIPS 203, section 7.2 (encapsulation key check).
    """
    _need_length(encoded, ML_KEM_1024_ENCODED_BYTES, "ML-KEM-1024 public key")
    try:
        if encoded[0] == ML_KEM_1024_TYPE:
            return MLKEM1024PublicKey.from_public_bytes(encoded[1:])
    except ValueError:
        pass
    raise InvalidKeyError("not a good ML-KEM-1024 public key; it was dropped")


@lru_cache(maxsize=CACHED_SIGNATURES)
def verify(public: bytes, data: bytes, signature: bytes) -> None:
    """Return only if ``signature`` is the signature of ``data`` under ``public`` (33 bytes).

    What held is remembered, by all three arguments; what did not is checked anew each time.

    Raises:
        InvalidKeyError: ``public`` is not a good Ed25519 key, see ``parse_ed25519``.
        InvalidSignatureError: Wrong length, S >= L, R of small order, or simply not valid.

    Source: RFC 8032, section 5.1.7, with the strict checks.
    """
    key = parse_ed25519(public)
    y = int.from_bytes(signature[:32], "little") & ~_SIGN_BIT
    # The library compares R as bytes and refuses S >= L; R of small order it lets pass.
    if len(signature) == SIGNATURE_BYTES and y not in _SMALL_ORDER_Y:
        try:
            return key.verify(signature, data)
        except InvalidSignature:
            pass
    raise InvalidSignatureError("the signature does not hold; what it covers was dropped")


def _need_length(data: bytes, length: int, what: str) -> None:
    if len(data) != length:
        raise InvalidKeyError(f"{what}: {len(data)} bytes, expected {length}; it was dropped")
