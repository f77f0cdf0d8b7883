"""The safety number: sixty digits that two users compare to know that nobody stands between."""

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
_CACHED_HALVES: Final = 64


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


def matches(digits: str, scanned: str) -> bool:
    """Tell in constant time whether a scanned safety number is the expected one."""
    return hmac.compare_digest(digits.encode(), scanned.encode(errors="replace"))


@lru_cache(maxsize=_CACHED_HALVES)
def half(user_id: bytes, key: bytes, iterations: int) -> str:
    """Return one user's 30 digits; remembered, for one's own half stands in every number."""
    sha512 = hashlib.sha512
    digest = sha512(_VERSION + key + user_id + key).digest()
    for _ in range(iterations - 1):
        digest = sha512(digest + key).digest()
    chunks = (digest[at : at + _CHUNK_BYTES] for at in range(0, _HALF_BYTES, _CHUNK_BYTES))
    return "".join(f"{int.from_bytes(chunk, 'big') % 100_000:05d}" for chunk in chunks)
