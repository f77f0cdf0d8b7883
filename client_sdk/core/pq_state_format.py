"""The post-quantum ratchet as part of the stored session; at most about 1.3 KB.

Of a key pair only the seed is stored: the public half follows from it.
"""

from enum import IntEnum
from typing import Annotated, NamedTuple

from pydantic import Field

from client_sdk.core.erasure import PIECE_BYTES, numbers_of
from client_sdk.core.errors import InvalidKeyError, StateFormatError
from client_sdk.core.kem_keys import MlKem768KeyPair, parse_ml_kem_768
from client_sdk.core.pq_ratchet import (
    CIPHERTEXT_CHUNKS,
    KEY_CHUNKS,
    Answering,
    Collecting,
    Drawing,
    Offering,
    PqRatchet,
    Stage,
)
from client_sdk.wire.encoded_keys import (
    ML_KEM_768_CIPHERTEXT_BYTES,
    ML_KEM_768_ENCODED_BYTES,
    KemRatchetKey,
)
from client_sdk.wire.pq_message import MAX_EPOCH, PQ_CHUNKS


class StageNumber(IntEnum):
    """How a stage is stored."""

    DRAWING = 1
    OFFERING = 2
    COLLECTING = 3
    ANSWERING = 4


_DRAWING, _OFFERING, _COLLECTING, _ANSWERING = (int(number) for number in StageNumber)


class StoredPq(NamedTuple):
    """A post-quantum ratchet; ``data`` is a seed, a whole key or a ciphertext, by the stage."""

    epoch: Annotated[int, Field(ge=0, le=MAX_EPOCH)]
    stage: Annotated[int, Field(ge=StageNumber.DRAWING, le=StageNumber.ANSWERING)]
    data: Annotated[bytes, Field(max_length=ML_KEM_768_ENCODED_BYTES)]
    next_chunk: Annotated[int, Field(ge=0, lt=PQ_CHUNKS)]
    pieces: Annotated[bytes, Field(max_length=(KEY_CHUNKS - 1) * PIECE_BYTES)]


def stored_pq(state: PqRatchet) -> tuple[int, int, bytes, int, bytes]:
    """Return the fields of a ``StoredPq``."""
    epoch, stage = state
    if isinstance(stage, Offering):
        return epoch, _OFFERING, stage.pair.seed, stage.next_chunk, stage.pieces
    if isinstance(stage, Answering):
        return epoch, _ANSWERING, stage.ciphertext, stage.next_chunk, b""
    if isinstance(stage, Collecting):
        return epoch, _COLLECTING, stage.key or b"", 0, stage.pieces
    return epoch, _DRAWING, b"", 0, b""


def parsed_pq(stored: StoredPq) -> PqRatchet:
    """Return the state that ``stored_pq`` made ``stored`` of.

    Raises:
        StateFormatError: It is damaged.
        InvalidKeyError: It is damaged where a key stands.
    """
    state = PqRatchet(stored.epoch, _stage(stored))
    if stored_pq(state) != stored:
        raise StateFormatError("the stored post-quantum ratchet is damaged; it was left as it is")
    return state


def _stage(stored: StoredPq) -> Stage:
    if stored.stage == StageNumber.OFFERING:
        pair = MlKem768KeyPair.from_seed(stored.data)
        return Offering(pair, stored.next_chunk, _checked(stored.pieces, CIPHERTEXT_CHUNKS))
    if stored.stage == StageNumber.COLLECTING:
        if not stored.data:
            return Collecting(_checked(stored.pieces, KEY_CHUNKS))
        parse_ml_kem_768(stored.data)
        return Collecting(b"", KemRatchetKey(stored.data))
    if stored.stage == StageNumber.ANSWERING:
        if len(stored.data) != ML_KEM_768_CIPHERTEXT_BYTES:
            raise InvalidKeyError("the stored ciphertext is damaged; it was left as it is")
        return Answering(stored.data, stored.next_chunk)
    return Drawing()


def _checked(pieces: bytes, needed: int) -> bytes:
    numbers = numbers_of(pieces)
    if (
        len(pieces) != len(numbers) * PIECE_BYTES
        or len(set(numbers)) < len(numbers)
        or len(numbers) >= needed
        or max(numbers, default=0) >= PQ_CHUNKS
    ):
        raise StateFormatError("stored chunks are damaged; they were left as they are")
    return pieces
