"""Inputs that pass the outer layers: one field of a record exchanged, and packed again."""

import random
from typing import Any

import msgpack

STRANGE: tuple[Any, ...] = (
    *(None, True, False, b"", "", ()),
    *(0, 1, 2, 127, 128, 255, 256, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1, -1),
    *(b"\x00" * 32, b"\xff" * 33, b"\x01" + b"\x00" * 32, "a-128", "ü" * 65, 1.5, {"a": 1}),
)


def unpacked(data: bytes) -> Any:
    """Return what ``data`` is in msgpack, behind a version byte if need be; None where nothing."""
    try:
        value = msgpack.unpackb(data, use_list=False, strict_map_key=False)
    except (ValueError, TypeError, msgpack.UnpackException):
        return None
    return value if isinstance(value, tuple) and value else None


def bent(value: Any, draw: random.Random) -> Any:
    """Return ``value`` with one thing in it changed, at any depth, inside bytes as well."""
    if isinstance(value, tuple) and value:
        at = draw.randrange(len(value))
        match draw.randrange(8):
            case 0:
                return (*value[:at], *value[at + 1 :])
            case 1:
                return (*value, value[at])
            case _:
                return (*value[:at], bent(value[at], draw), *value[at + 1 :])
    if isinstance(value, bytes) and value:
        inner = unpacked(value)
        if inner is not None and draw.random() < 0.8:
            return _packed(bent(inner, draw))
        at = draw.randrange(len(value))
        return value[:at] + bytes([value[at] ^ 1 << draw.randrange(8)]) + value[at + 1 :]
    if isinstance(value, int) and draw.random() < 0.5:
        return max(value + draw.choice((-1, 1)), 0)
    return draw.choice(STRANGE)


def mutated(data: bytes, seed: int) -> bytes | None:
    """Return a record near the one in ``data``; None where there is no record in it."""
    draw = random.Random(seed)
    for head in (b"", data[:1]):
        value = unpacked(data[len(head) :])
        if value is not None:
            return head + _packed(bent(value, draw))
    return None


def _packed(value: Any) -> bytes:
    try:
        packed: bytes = msgpack.packb(value)
    except (ValueError, OverflowError):  # a number or a nesting that msgpack has no form for
        return b""
    return packed
