"""The post-quantum ratchet's part of a message header: two epochs, and perhaps one chunk.

Packed side by side and not as an array: it stands in every header, and each form has one length.
"""

import struct
from enum import IntEnum
from functools import lru_cache
from typing import Final, NamedTuple

from client_sdk.wire.envelope import MAX_PQ_MESSAGE_BYTES
from client_sdk.wire.errors import MalformedError

PQ_CHUNK_BYTES: Final = 96
"""One chunk: the header of a message grows by less than half of the smallest padding bucket."""

PQ_CHUNKS: Final = 64
"""Chunk numbers of one encapsulation key or ciphertext: any 13 or 12 of them restore it.

Whoever wants to stop an epoch by dropping certain numbers has to drop four of five messages.
"""

MAX_EPOCH: Final = 2**32 - 1
"""The last epoch; the numbers have to fit into the header."""

CACHED_MESSAGES: Final = 64
"""Messages without a chunk kept: they are the same for all of an epoch."""

_EPOCHS: Final = struct.Struct(">II")
_HEAD: Final = struct.Struct(">IIBB")


class PqPart(IntEnum):
    """What a chunk is a part of."""

    ENCAPSULATION_KEY = 1
    CIPHERTEXT = 2


class PqChunk(NamedTuple):
    """One chunk, ``PQ_CHUNK_BYTES`` long, and its number."""

    part: PqPart
    number: int
    data: bytes


class PqMessage(NamedTuple):
    """What one header says of the post-quantum ratchet.

    Attributes:
        epoch: The epoch whose secret is the newest in this message's chain.
        newest: The newest epoch whose secret the sender holds; not below ``epoch``.
        chunk: Of the key for epoch ``newest + 1``, or of the ciphertext for epoch ``newest``.
    """

    epoch: int = 0
    newest: int = 0
    chunk: PqChunk | None = None


def encode_pq_message(message: PqMessage) -> bytes:
    """Return 8 bytes without a chunk, ``MAX_PQ_MESSAGE_BYTES`` with one."""
    epoch, newest, chunk = message
    if chunk is None:
        return _EPOCHS.pack(epoch, newest)
    part, number, data = chunk
    return _HEAD.pack(epoch, newest, part, number) + data


def decode_pq_message(data: bytes) -> PqMessage:
    """Return the message that ``data`` is.

    Raises:
        MalformedError: Another length, a part or number that does not exist, or a chain in an
            epoch that its sender does not know.
    """
    if len(data) == _EPOCHS.size:
        return _without_chunk(data)
    if len(data) == MAX_PQ_MESSAGE_BYTES:
        epoch, newest, part, number = _HEAD.unpack_from(data)
        known = _PARTS.get(part)
        if known is None or number >= PQ_CHUNKS:
            raise MalformedError("the post-quantum message has a chunk that does not exist")
        _check_epochs(epoch, newest)
        return PqMessage(epoch, newest, PqChunk(known, number, data[_HEAD.size :]))
    raise MalformedError(f"the post-quantum message has {len(data)} bytes")


@lru_cache(maxsize=CACHED_MESSAGES)
def _without_chunk(data: bytes) -> PqMessage:
    epoch, newest = _EPOCHS.unpack(data)
    _check_epochs(epoch, newest)
    return PqMessage(epoch, newest)


def _check_epochs(epoch: int, newest: int) -> None:
    if epoch > newest:
        raise MalformedError("the message's chain is in an epoch that its sender does not know")


_PARTS: Final = {int(part): part for part in PqPart}
