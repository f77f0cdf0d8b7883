"""A text as numbered chunks of which any few, whichever they are, restore the whole.

A Reed-Solomon code: byte by byte the first chunks are the values of a polynomial at 0, 1, 2, …;
every further chunk is its value at one more point. Nothing here is secret.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from client_sdk.wire.pq_message import PQ_CHUNK_BYTES

CACHED_CHUNKS: Final = 512
"""Computed chunks kept for all sessions of a process, about 64 KiB: they are sent in turn."""

_FIELD_POLYNOMIAL: Final = 0x11D


PIECE_BYTES: Final = 1 + PQ_CHUNK_BYTES
"""A piece is a chunk's number, then the chunk; pieces lie side by side, as they are stored."""


def piece(number: int, chunk: bytes) -> bytes:
    """Return the piece of chunk ``number`` (0 to 255)."""
    return bytes((number,)) + chunk


def numbers_of(pieces: bytes) -> bytes:
    """Return the numbers of all pieces, a byte each."""
    return pieces[::PIECE_BYTES]


def chunk_count(size: int) -> int:
    """Return how many chunks a text of ``size`` bytes needs."""
    return -(-size // PQ_CHUNK_BYTES)


def chunk_of(data: bytes, index: int) -> bytes:
    """Return chunk ``index`` (0 to 255) of ``data``: a part of it, or computed from all parts."""
    start = index * PQ_CHUNK_BYTES
    if start < len(data):
        return data[start : start + PQ_CHUNK_BYTES].ljust(PQ_CHUNK_BYTES, b"\x00")
    return _computed_chunk(data, index)


def restore(pieces: bytes, size: int) -> bytes:
    """Return the text of ``size`` bytes, from ``chunk_count(size)`` pieces of different numbers."""
    starts = range(0, len(pieces), PIECE_BYTES)
    known = {pieces[start]: pieces[start + 1 : start + PIECE_BYTES] for start in starts}
    points = tuple(sorted(known))
    values = [known[point] for point in points]
    parts = [
        known[index] if index in known else _value_at(points, values, index)
        for index in range(len(points))
    ]
    return b"".join(parts)[:size]


@lru_cache(maxsize=CACHED_CHUNKS)
def _computed_chunk(data: bytes, index: int) -> bytes:
    points = tuple(range(chunk_count(len(data))))
    return _value_at(points, [chunk_of(data, point) for point in points], index)


def _value_at(points: tuple[int, ...], values: Sequence[bytes], at: int) -> bytes:
    total = 0
    for factor, value in zip(_factors(points, at), values, strict=True):
        total ^= int.from_bytes(value.translate(_multiples(factor)))
    return total.to_bytes(PQ_CHUNK_BYTES)


@lru_cache(maxsize=CACHED_CHUNKS)
def _factors(points: tuple[int, ...], at: int) -> tuple[int, ...]:
    """Return Lagrange's factors of the values at ``points`` for the value at ``at``."""
    factors = []
    for one in points:
        exponent = 0
        for other in points:
            if other != one:
                exponent += _LOG[at ^ other] - _LOG[one ^ other]
        factors.append(_EXP[exponent % 255])
    return tuple(factors)


@lru_cache(maxsize=256)
def _multiples(factor: int) -> bytes:
    """Return ``factor`` times each of 0 to 255; no factor is zero."""
    return bytes((0, *(_EXP[(_LOG[factor] + _LOG[byte]) % 255] for byte in range(1, 256))))


def _powers() -> tuple[int, ...]:
    powers, value = [], 1
    for _ in range(255):
        powers.append(value)
        value <<= 1
        if value > 255:
            value ^= _FIELD_POLYNOMIAL
    return tuple(powers)


_EXP: Final = _powers()
_LOG: Final = {value: exponent for exponent, value in enumerate(_EXP)}
