"""The only place that draws keys, ids and encapsulations.

Everything comes from the operating system at the moment of the call and nothing is kept, so a
forked or cloned process never repeats another's draw.
"""

import os

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM1024PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from client_sdk.core.fresh_keys import NO_KEYS, NOTHING_WANTED, FreshKeys, WantedKeys
from client_sdk.core.hpke import HpkeKeyPair
from client_sdk.core.kem_keys import MlKem768KeyPair, parse_ml_kem_768
from client_sdk.core.keys import (
    ML_KEM_SEED_BYTES,
    PRIVATE_KEY_BYTES,
    Ed25519KeyPair,
    Encapsulation,
    MlKem1024KeyPair,
    X25519KeyPair,
    parse_ml_kem_1024,
)
from client_sdk.wire.encoded_keys import KemPrekey
from client_sdk.wire.ids import (
    MESSAGE_ID_BYTES,
    RANDOM_ID_BYTES,
    STREAM_ID_BYTES,
    MessageId,
    StreamId,
    random_id,
)


def draw_bytes(count: int) -> bytes:
    """Return ``count`` random bytes."""
    return os.urandom(count)


def draw_id() -> str:
    """Return a new envelope, request, event or invitation id: 26 characters, 128 random bits."""
    return random_id(draw_bytes(RANDOM_ID_BYTES))


def draw_message_id() -> MessageId:
    """Return a new message id, 16 bytes."""
    return MessageId(draw_bytes(MESSAGE_ID_BYTES))


def draw_stream_id() -> StreamId:
    """Return a new stream id, 8 bytes."""
    return StreamId(draw_bytes(STREAM_ID_BYTES))


def draw_x25519() -> X25519KeyPair:
    """Return a new X25519 key pair."""
    seed = draw_bytes(PRIVATE_KEY_BYTES)
    return X25519KeyPair.from_private(X25519PrivateKey.from_private_bytes(seed))


def draw_ed25519() -> Ed25519KeyPair:
    """Return a new Ed25519 key pair."""
    seed = draw_bytes(PRIVATE_KEY_BYTES)
    return Ed25519KeyPair.from_private(Ed25519PrivateKey.from_private_bytes(seed))


def draw_ml_kem_1024() -> MlKem1024KeyPair:
    """Return a new ML-KEM-1024 key pair."""
    return MlKem1024KeyPair.from_private(
        MLKEM1024PrivateKey.from_seed_bytes(draw_bytes(ML_KEM_SEED_BYTES))
    )


def draw_ml_kem_768() -> MlKem768KeyPair:
    """Return a new ML-KEM-768 key pair."""
    return MlKem768KeyPair.from_seed(draw_bytes(ML_KEM_SEED_BYTES))


def draw_hpke() -> HpkeKeyPair:
    """Return a new hybrid sealing key pair."""
    return HpkeKeyPair.from_private(
        MLKEM768PrivateKey.from_seed_bytes(draw_bytes(ML_KEM_SEED_BYTES)),
        X25519PrivateKey.from_private_bytes(draw_bytes(PRIVATE_KEY_BYTES)),
    )


def encapsulate(kem_prekey: KemPrekey) -> Encapsulation:
    """Return a fresh secret for the owner of ``kem_prekey``, and the ciphertext that carries it.

    OpenSSL draws inside; it reseeds by itself after a fork.

    Raises:
        InvalidKeyError: It is not a good ML-KEM-1024 key.
    """
    return Encapsulation(*parse_ml_kem_1024(kem_prekey).encapsulate())


def draw_keys(wanted: WantedKeys) -> FreshKeys:
    """Return what one encryption takes, and nothing else.

    Raises:
        InvalidKeyError: The key to encapsulate to is not a good ML-KEM-768 key.
    """
    if wanted is NOTHING_WANTED:
        return NO_KEYS
    key = wanted.encapsulate_to
    return FreshKeys(
        draw_x25519() if wanted.ratchet_key else None,
        draw_ml_kem_768() if wanted.kem_pair else None,
        None if key is None else Encapsulation(*parse_ml_kem_768(key).encapsulate()),
    )
