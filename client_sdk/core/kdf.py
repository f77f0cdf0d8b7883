"""Every key derivation of the project and its label: HKDF, HMAC and, in chains, the one-step KDF.

Each label has one purpose, so no key can turn up in two places, and each carries the suite
number, so a changed suite changes every key.
"""

from hashlib import sha256, sha512
from typing import Final, NewType

from client_sdk.wire.envelope import SESSION_TAG_BYTES, SUITE
from client_sdk.wire.ids import SessionId

KEY_BYTES: Final = 32

_SUITE: Final = b" suite %d" % SUITE

HANDSHAKE_LABEL: Final = b"RatchetMQ/1 handshake" + _SUITE
ROOT_LABEL: Final = b"RatchetMQ/1 root step" + _SUITE
PQ_ROOT_LABEL: Final = b"RatchetMQ/1 post-quantum root step" + _SUITE
PQ_EPOCH_LABEL: Final = b"RatchetMQ/1 post-quantum epoch step" + _SUITE
EPOCH_KEY_LABEL: Final = b"RatchetMQ/1 post-quantum epoch key" + _SUITE
CHAIN_LABEL: Final = b"RatchetMQ/1 chain step" + _SUITE
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

ChainStep = NewType("ChainStep", bytes)
"""64 bytes, secret: a chain's next key, then its output for one message."""

MessageKey = NewType("MessageKey", bytes)
"""32 bytes, secret: the AEAD key of one message, never of a second one."""

_NO_SALT: Final = b"\x00" * KEY_BYTES
_COUNTER: Final = b"\x00\x00\x00\x01"
_BLOCK_BYTES: Final = 64
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))


def hkdf(salt: bytes, key_material: bytes, info: bytes, length: int) -> bytes:
    """Return ``length`` (1 to 8,160) bytes of HKDF-SHA-256; ``salt`` has at most 64 bytes.

    Source: RFC 5869.
    """
    extracted = _hmac(salt, key_material)
    block, output = b"", b""
    for number in range(1, -(-length // KEY_BYTES) + 1):
        block = _hmac(extracted, block + info + bytes((number,)))
        output += block
    return output[:length]


def handshake_secrets(key_material: bytes) -> tuple[RootKey, PqRootKey]:
    """Return the root key and the post-quantum seed of a new session, 32 bytes each.

    Source: PQXDH rev 3, section 2.2 (KDF) with two outputs.
    """
    secrets = hkdf(_NO_SALT, key_material, HANDSHAKE_LABEL, 2 * KEY_BYTES)
    return RootKey(secrets[:KEY_BYTES]), PqRootKey(secrets[KEY_BYTES:])


# What follows runs for every message or turn. All of it is the one-step KDF of NIST SP 800-56C
# rev 2, section 4.1, with SHA-512: SHA-512(counter 1 || secret || label), cut to length; where two
# secrets go in, the second one is appended to the first as section 2 there has it.


def root_step(root_key: RootKey, shared_secret: bytes) -> tuple[RootKey, ChainKey]:
    """Mix one Diffie-Hellman result in: the next root key and a new chain's key.

    Source: Double Ratchet rev 4, KDF_RK.
    """
    step = sha512(_COUNTER + shared_secret + root_key + ROOT_LABEL).digest()
    return step[:KEY_BYTES], step[KEY_BYTES:]  # type: ignore[return-value]


def pq_root_step(root_key: PqRootKey) -> tuple[PqRootKey, ChainKey]:
    """Move the post-quantum root on by one chain within its epoch; adds no new secret."""
    step = sha512(_COUNTER + root_key + PQ_ROOT_LABEL).digest()
    return step[:KEY_BYTES], step[KEY_BYTES:]  # type: ignore[return-value]


def pq_epoch_step(root_key: PqRootKey, key: EpochKey) -> tuple[PqRootKey, ChainKey]:
    """Move the post-quantum root on by one chain and mix a new epoch's key in.

    Source: Double Ratchet rev 4, KDF_SCKA_RK.
    """
    step = sha512(_COUNTER + key + root_key + PQ_EPOCH_LABEL).digest()
    return step[:KEY_BYTES], step[KEY_BYTES:]  # type: ignore[return-value]


def chain_step(chain_key: bytes) -> ChainStep:
    """Return the next chain key and this number's output, 32 bytes each, side by side.

    Source: Double Ratchet rev 4, KDF_CK.
    """
    return sha512(_COUNTER + chain_key + CHAIN_LABEL).digest()  # type: ignore[return-value]


def chain_steps(chain_key: bytes, count: int) -> list[ChainStep]:
    """Return the next ``count`` steps of a chain; the last one begins with the key after them."""
    steps = []
    for _ in range(count):
        step = chain_step(chain_key)
        chain_key = step[:KEY_BYTES]
        steps.append(step)
    return steps


def message_key(pq_step: ChainStep, ec_step: ChainStep) -> MessageKey:
    """Return one message's key from both chains' outputs: safe while either of them is.

    Source: Double Ratchet rev 4, Triple Ratchet (KDF_HYBRID).
    """
    secrets = pq_step[KEY_BYTES:] + ec_step[KEY_BYTES:]
    return sha512(_COUNTER + secrets + MESSAGE_LABEL).digest()[:KEY_BYTES]  # type: ignore[return-value]


def epoch_key(shared_secret: bytes, epoch: int, transcript: bytes) -> EpochKey:
    """Return the key of one epoch, bound to its number and to all that was exchanged for it.

    Args:
        shared_secret: The ML-KEM-768 secret, 32 bytes.
        epoch: 1 to 2^32 - 1.
        transcript: The encoded encapsulation key, then the ciphertext.
    """
    info = EPOCH_KEY_LABEL + epoch.to_bytes(4) + sha256(transcript).digest()
    return EpochKey(hkdf(_NO_SALT, shared_secret, info, KEY_BYTES))


def session_tag(session_id: SessionId) -> bytes:
    """Return the 8 bytes by which a header names its session."""
    return _hmac(session_id, SESSION_TAG_LABEL)[:SESSION_TAG_BYTES]


def link_offer_mac(secret: bytes, offer: bytes) -> bytes:
    """Return the 32 bytes by which a new device proves to hold a link code's secret."""
    return _hmac(hkdf(_NO_SALT, secret, LINK_OFFER_LABEL, KEY_BYTES), offer)


def link_grant_mac(secret: bytes, grant: bytes) -> bytes:
    """Return the 32 bytes by which a manager proves to have made the link code."""
    return _hmac(hkdf(_NO_SALT, secret, LINK_GRANT_LABEL, KEY_BYTES), grant)


def recovery_check(private_key: bytes, length: int) -> bytes:
    """Return the first ``length`` bytes of a digest that finds typing errors in a recovery code."""
    return _hmac(private_key, RECOVERY_CHECK_LABEL)[:length]


def _hmac(key: bytes, data: bytes) -> bytes:
    # Written out: ``hmac.digest`` looks its digest up at each call, which takes longer than this.
    block = key.ljust(_BLOCK_BYTES, b"\x00")
    inner = sha256(block.translate(_INNER) + data).digest()
    return sha256(block.translate(_OUTER) + inner).digest()
