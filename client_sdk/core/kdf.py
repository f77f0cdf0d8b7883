"""Every key derivation of the project and its label; HKDF- and HMAC-SHA-256.

Each label has one purpose, so no key can turn up in two places, and each carries the suite
number, so a changed suite changes every key.
"""

import hmac
from hashlib import sha256
from typing import Final, NamedTuple, NewType

from client_sdk.wire.envelope import SESSION_TAG_BYTES, SUITE
from client_sdk.wire.ids import SessionId

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12

_SUITE: Final = b" suite %d" % SUITE

HANDSHAKE_LABEL: Final = b"RatchetMQ/1 handshake" + _SUITE
ROOT_LABEL: Final = b"RatchetMQ/1 root step" + _SUITE
PQ_ROOT_LABEL: Final = b"RatchetMQ/1 post-quantum root step" + _SUITE
PQ_EPOCH_LABEL: Final = b"RatchetMQ/1 post-quantum epoch step" + _SUITE
EPOCH_KEY_LABEL: Final = b"RatchetMQ/1 post-quantum epoch key" + _SUITE
MESSAGE_LABEL: Final = b"RatchetMQ/1 message key" + _SUITE
SESSION_TAG_LABEL: Final = b"RatchetMQ/1 session tag" + _SUITE
LINK_OFFER_LABEL: Final = b"RatchetMQ/1 link offer proof" + _SUITE
LINK_GRANT_LABEL: Final = b"RatchetMQ/1 link grant proof" + _SUITE
RECOVERY_CHECK_LABEL: Final = b"RatchetMQ/1 recovery code check" + _SUITE

RootKey = NewType("RootKey", bytes)
"""32 bytes, secret: what Diffie-Hellman results are mixed into."""

PqRootKey = NewType("PqRootKey", bytes)
"""32 bytes, secret: the post-quantum companion of the root key."""

EpochKey = NewType("EpochKey", bytes)
"""32 bytes, secret: what one epoch of the post-quantum ratchet adds to its root."""

ChainKey = NewType("ChainKey", bytes)
"""32 bytes, secret: one chain's next step."""

ChainOutput = NewType("ChainOutput", bytes)
"""32 bytes, secret: one half of a message key, from one chain."""

MessageKey = NewType("MessageKey", bytes)
"""32 bytes, secret: both halves of one message's key, extracted."""

_SHA256: Final = "sha256"
_NO_SALT: Final = b"\x00" * KEY_BYTES
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))
_INNER_REST: Final = b"\x36" * 32
_OUTER_REST: Final = b"\x5c" * 32
_OUTPUT: Final = _INNER_REST + b"\x01"
_STEP: Final = _INNER_REST + b"\x02"
_HANDSHAKE_INFO: Final = (HANDSHAKE_LABEL + b"\x01", HANDSHAKE_LABEL + b"\x02")
_ROOT_INFO: Final = (ROOT_LABEL + b"\x01", ROOT_LABEL + b"\x02")
_PQ_ROOT_INFO: Final = (PQ_ROOT_LABEL + b"\x01", PQ_ROOT_LABEL + b"\x02")
_PQ_EPOCH_INFO: Final = (PQ_EPOCH_LABEL + b"\x01", PQ_EPOCH_LABEL + b"\x02")
_MESSAGE_INFO: Final = (MESSAGE_LABEL + b"\x01", MESSAGE_LABEL + b"\x02")


class SealingKeys(NamedTuple):
    """What one message is sealed with; the nonce is never sent."""

    key: bytes
    nonce: bytes

    def __repr__(self) -> str:
        """Say what it is; show nothing of it."""
        return "SealingKeys(...)"


def hkdf(salt: bytes, key_material: bytes, info: bytes, length: int) -> bytes:
    """Return ``length`` (1 to 8,160) bytes of HKDF-SHA-256.

    Source: RFC 5869.
    """
    extracted = hmac.digest(salt, key_material, _SHA256)
    block, output = b"", b""
    for number in range(1, -(-length // KEY_BYTES) + 1):
        block = hmac.digest(extracted, block + info + bytes((number,)), _SHA256)
        output += block
    return output[:length]


def handshake_secrets(key_material: bytes) -> tuple[RootKey, PqRootKey]:
    """Return the root key and the post-quantum seed of a new session, 32 bytes each.

    Source: PQXDH rev 3, section 2.2 (KDF) with two outputs.
    """
    return _expand(_hmac(_NO_SALT, key_material), *_HANDSHAKE_INFO)  # type: ignore[return-value]


def root_step(root_key: RootKey, shared_secret: bytes) -> tuple[RootKey, ChainKey]:
    """Mix one Diffie-Hellman result in: the next root key and a new chain's key.

    Source: Double Ratchet rev 4, KDF_RK; HKDF of RFC 5869 with the root key as salt.
    """
    return _expand(_hmac(root_key, shared_secret), *_ROOT_INFO)  # type: ignore[return-value]


def pq_root_step(root_key: PqRootKey) -> tuple[PqRootKey, ChainKey]:
    """Move the post-quantum root on by one chain within its epoch; adds no new secret."""
    return _expand(root_key, *_PQ_ROOT_INFO)  # type: ignore[return-value]


def pq_epoch_step(root_key: PqRootKey, key: EpochKey) -> tuple[PqRootKey, ChainKey]:
    """Move the post-quantum root on by one chain and mix a new epoch's key in.

    Source: Double Ratchet rev 4, KDF_SCKA_RK; HKDF of RFC 5869 with the root key as salt.
    """
    return _expand(_hmac(root_key, key), *_PQ_EPOCH_INFO)  # type: ignore[return-value]


def epoch_key(shared_secret: bytes, epoch: int, transcript: bytes) -> EpochKey:
    """Return the key of one epoch, bound to its number and to all that was exchanged for it.

    Args:
        shared_secret: The ML-KEM-768 secret, 32 bytes.
        epoch: 1 to 2^32 - 1.
        transcript: The encoded encapsulation key, then the ciphertext.
    """
    info = EPOCH_KEY_LABEL + epoch.to_bytes(4) + sha256(transcript).digest()
    return EpochKey(hkdf(_NO_SALT, shared_secret, info, KEY_BYTES))


def chain_step(chain_key: ChainKey) -> tuple[ChainKey, ChainOutput]:
    """Return HMAC(chain key, 0x02), the next chain key, and HMAC(chain key, 0x01), its output.

    Source: Double Ratchet rev 4, KDF_CK.
    """
    inner = sha256(chain_key.translate(_INNER) + _INNER_REST)
    outer = sha256(chain_key.translate(_OUTER) + _OUTER_REST)
    inner_copy, outer_copy = inner.copy(), outer.copy()
    inner_copy.update(b"\x02")
    outer_copy.update(inner_copy.digest())
    inner.update(b"\x01")
    outer.update(inner.digest())
    return outer_copy.digest(), outer.digest()  # type: ignore[return-value]


def message_key(pq_output: ChainOutput, ec_output: ChainOutput) -> MessageKey:
    """Extract one message key from both chains' outputs: safe while either of them is.

    Source: Double Ratchet rev 4, Triple Ratchet (KDF_HYBRID), the extract half; RFC 5869 2.2.
    """
    inner = sha256(pq_output.translate(_INNER) + _INNER_REST + ec_output).digest()
    outer = pq_output.translate(_OUTER) + _OUTER_REST
    return sha256(outer + inner).digest()  # type: ignore[return-value]


def walked_chain(chain_key: ChainKey, count: int) -> list[ChainKey]:
    """Return ``chain_key`` and the ``count`` keys after it, without any output.

    Each is HMAC(key before, 0x02): for numbers whose messages may never come.
    """
    keys = [chain_key]
    key: bytes = chain_key
    for _ in range(count):
        inner = sha256(key.translate(_INNER) + _STEP).digest()
        key = sha256(key.translate(_OUTER) + _OUTER_REST + inner).digest()
        keys.append(key)  # type: ignore[arg-type]
    return keys


def passed_message_keys(ec_keys: list[ChainKey], pq_keys: list[ChainKey]) -> list[MessageKey]:
    """Return what ``message_key`` makes of two walked chains' outputs, number by number."""
    keys = []
    for ec_key, pq_key in zip(ec_keys, pq_keys, strict=True):
        inner = sha256(ec_key.translate(_INNER) + _OUTPUT).digest()
        ec_output = sha256(ec_key.translate(_OUTER) + _OUTER_REST + inner).digest()
        inner = sha256(pq_key.translate(_INNER) + _OUTPUT).digest()
        pq_output = sha256(pq_key.translate(_OUTER) + _OUTER_REST + inner).digest()
        inner = sha256(pq_output.translate(_INNER) + _INNER_REST + ec_output).digest()
        keys.append(sha256(pq_output.translate(_OUTER) + _OUTER_REST + inner).digest())
    return keys  # type: ignore[return-value]


def sealing_keys(key: MessageKey) -> SealingKeys:
    """Expand a message key into the 32-byte AEAD key and its 12-byte nonce."""
    aead_key, rest = _expand(key, *_MESSAGE_INFO)
    return tuple.__new__(SealingKeys, (aead_key, rest[:NONCE_BYTES]))


def session_tag(session_id: SessionId) -> bytes:
    """Return the 8 bytes by which a header names its session."""
    return _hmac(session_id, SESSION_TAG_LABEL)[:SESSION_TAG_BYTES]


def link_offer_mac(secret: bytes, offer: bytes) -> bytes:
    """Return the 32 bytes by which a new device proves to hold a link code's secret."""
    return hmac.digest(hkdf(_NO_SALT, secret, LINK_OFFER_LABEL, KEY_BYTES), offer, _SHA256)


def link_grant_mac(secret: bytes, grant: bytes) -> bytes:
    """Return the 32 bytes by which a manager proves to have made the link code."""
    return hmac.digest(hkdf(_NO_SALT, secret, LINK_GRANT_LABEL, KEY_BYTES), grant, _SHA256)


def recovery_check(private_key: bytes, length: int) -> bytes:
    """Return the first ``length`` bytes of a digest that finds typing errors in a recovery code."""
    return hmac.digest(private_key, RECOVERY_CHECK_LABEL, _SHA256)[:length]


# HMAC and HKDF-Expand are written out over ``hashlib`` for 32-byte keys: the library's calls look
# their digest up anew each time, which costs three times as much as the hashing. Where one key
# serves twice, both of its blocks are hashed once and copied. A jump runs this up to a thousand
# times, so its two loops have it in them.


def _hmac(key: bytes, data: bytes) -> bytes:
    inner = sha256(key.translate(_INNER) + _INNER_REST + data).digest()
    return sha256(key.translate(_OUTER) + _OUTER_REST + inner).digest()


def _expand(key: bytes, first_info: bytes, second_info: bytes) -> tuple[bytes, bytes]:
    inner = sha256(key.translate(_INNER) + _INNER_REST)
    outer = sha256(key.translate(_OUTER) + _OUTER_REST)
    inner_copy, outer_copy = inner.copy(), outer.copy()
    inner_copy.update(first_info)
    outer_copy.update(inner_copy.digest())
    first = outer_copy.digest()
    inner.update(first + second_info)
    outer.update(inner.digest())
    return first, outer.digest()
