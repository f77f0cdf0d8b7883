"""The ML-KEM-768 key pairs of the post-quantum ratchet; each serves one epoch."""

from dataclasses import dataclass, field
from typing import Self

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey

from client_sdk.core.errors import InvalidKeyError
from client_sdk.core.keys import ML_KEM_SEED_BYTES
from client_sdk.wire.encoded_keys import (
    ML_KEM_768_CIPHERTEXT_BYTES,
    ML_KEM_768_ENCODED_BYTES,
    ML_KEM_768_TYPE,
    KemRatchetKey,
)


@dataclass(frozen=True, slots=True)
class MlKem768KeyPair:
    """An ML-KEM-768 key pair; ``public`` is the 1,185-byte encoding.

    Its private half is kept as its 64-byte seed: a live object would take about 10 KiB in each
    open session, and it is used once.
    """

    seed: bytes = field(repr=False, compare=False)
    public: KemRatchetKey

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        """Return the pair of a 64-byte seed.

        Raises:
            InvalidKeyError: ``seed`` does not have 64 bytes.
        """
        _need_length(seed, ML_KEM_SEED_BYTES, "seed")
        raw = MLKEM768PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw()
        return cls(seed, KemRatchetKey(bytes((ML_KEM_768_TYPE,)) + raw))

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """Return the 32-byte secret in ``ciphertext``; a changed one gives other bytes, no error.

        Raises:
            InvalidKeyError: ``ciphertext`` does not have 1,088 bytes.

        Source: FIPS 203, ML-KEM.Decaps (implicit rejection).
        """
        _need_length(ciphertext, ML_KEM_768_CIPHERTEXT_BYTES, "ciphertext")
        return MLKEM768PrivateKey.from_seed_bytes(self.seed).decapsulate(ciphertext)


def parse_ml_kem_768(encoded: bytes) -> MLKEM768PublicKey:
    """Return a usable key for its 1,185-byte encoding.

    Raises:
        InvalidKeyError: Wrong length or type byte, or a coefficient that is not reduced.

    Source: FIPS 203, section 7.2 (encapsulation key check).
    """
    _need_length(encoded, ML_KEM_768_ENCODED_BYTES, "public key")
    try:
        if encoded[0] == ML_KEM_768_TYPE:
            return MLKEM768PublicKey.from_public_bytes(encoded[1:])
    except ValueError:
        pass
    raise InvalidKeyError("not a good ML-KEM-768 public key; it was dropped")


def _need_length(data: bytes, length: int, what: str) -> None:
    if len(data) != length:
        raise InvalidKeyError(f"ML-KEM-768 {what}: {len(data)} bytes, not {length}; it was dropped")
