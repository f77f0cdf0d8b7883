"""The safety number: sixty digits that two users compare to know that nobody stands between."""

import base64
import hashlib
import hmac
from functools import lru_cache
from typing import Final

from client_sdk.wire.errors import MisuseError

ITERATIONS: Final = 5200
"""What makes it costly to search for a key with a chosen number."""

MAX_ITERATIONS: Final = 1_000_000
_VERSION: Final = b"\x00\x00"
_HALF_BYTES: Final = 30
_CHUNK_BYTES: Final = 5
_CACHED_DIGESTS: Final = 64
_SCANNED_BYTES: Final = 32
SCAN_PREFIX: Final = "RATCHETMQ:SN1:"
"""What every scannable safety number begins with; 1 is its version."""


def numeric(
    local_id: bytes,
    local_key: bytes,
    remote_id: bytes,
    remote_key: bytes,
    iterations: int = ITERATIONS,
) -> str:
    """Return the 60 digits of two users, the same on both sides.

    Args:
        local_id: One user's name as bytes.
        local_key: That user's account key, 33 bytes encoded (type byte first).
        remote_id: The other user's name as bytes.
        remote_key: The other user's account key, 33 bytes encoded.
        iterations: Hash rounds a half, 2 to ``MAX_ITERATIONS``; both sides use the same.

    Raises:
        MisuseError: ``iterations`` is out of range.

    Source: libsignal, numeric fingerprint, version 0 of the digest.
    """
    if not 1 < iterations <= MAX_ITERATIONS:
        raise MisuseError(f"iterations: {iterations}, expected 2 to {MAX_ITERATIONS}")
    halves = (half(local_id, local_key, iterations), half(remote_id, remote_key, iterations))
    return "".join(sorted(halves))


def scannable(
    local_id: bytes, local_key: bytes, remote_id: bytes, remote_key: bytes
) -> tuple[str, str]:
    """Return what this side shows as a QR code, and what a scan of the other side's must be.

    A code holds half of SHA-512 of each user, the showing side's first, after a version. It is
    bound to both names and both keys, and a scan of one's own code never matches.

    Args:
        local_id: This user's name as bytes.
        local_key: This user's account key, 33 bytes encoded (type byte first).
        remote_id: The other user's name as bytes.
        remote_key: The other user's account key, 33 bytes encoded.

    Source: libsignal, scannable fingerprint; the encoding is ours: the characters of a QR code's
        alphanumeric mode, so that it stays small.
    """
    local = _digest(local_id, local_key, ITERATIONS)[:_SCANNED_BYTES]
    remote = _digest(remote_id, remote_key, ITERATIONS)[:_SCANNED_BYTES]
    return _scan(local + remote), _scan(remote + local)


def matches(expected: str, scanned: str) -> bool:
    """Tell in constant time whether a scanned safety number is the expected one."""
    return hmac.compare_digest(expected.encode(), scanned.encode(errors="replace"))


def half(user_id: bytes, key: bytes, iterations: int) -> str:
    """Return one user's 30 digits."""
    digest = _digest(user_id, key, iterations)
    chunks = (digest[at : at + _CHUNK_BYTES] for at in range(0, _HALF_BYTES, _CHUNK_BYTES))
    return "".join(f"{int.from_bytes(chunk) % 100_000:05d}" for chunk in chunks)


@lru_cache(maxsize=_CACHED_DIGESTS)
def _digest(user_id: bytes, key: bytes, iterations: int) -> bytes:
    # Remembered: one's own stands in every number, and it costs milliseconds.
    sha512 = hashlib.sha512
    digest = sha512(_VERSION + key + user_id + key).digest()
    for _ in range(iterations - 1):
        digest = sha512(digest + key).digest()
    return digest


def _scan(content: bytes) -> str:
    return SCAN_PREFIX + base64.b32encode(content).decode().rstrip("=")
