"""The post-quantum ratchet's part of a header: two lengths, and nothing that does not exist."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.wire.envelope import MAX_PQ_MESSAGE_BYTES
from client_sdk.wire.errors import MalformedError
from client_sdk.wire.pq_message import (
    MAX_EPOCH,
    PQ_CHUNK_BYTES,
    PQ_CHUNKS,
    PqChunk,
    PqMessage,
    PqPart,
    decode_pq_message,
    encode_pq_message,
)

CHUNK = bytes(range(PQ_CHUNK_BYTES))


def raw(epoch: int = 1, newest: int = 1, part: int = 1, number: int = 0) -> bytes:
    return epoch.to_bytes(4) + newest.to_bytes(4) + bytes((part, number)) + CHUNK


def test_a_message_has_the_frozen_bytes() -> None:
    chunk = PqChunk(PqPart.CIPHERTEXT, 63, CHUNK)
    assert encode_pq_message(PqMessage(1, 2, chunk)).hex() == f"0000000100000002023f{CHUNK.hex()}"
    assert encode_pq_message(PqMessage(1, 2)).hex() == "0000000100000002"
    assert len(encode_pq_message(PqMessage(1, 2, chunk))) == MAX_PQ_MESSAGE_BYTES <= 256


@given(st.integers(0, 9), st.integers(0, 9), st.sampled_from(PqPart), st.integers(0, PQ_CHUNKS - 1))
def test_what_is_encoded_is_decoded(epoch: int, more: int, part: PqPart, number: int) -> None:
    for chunk in (None, PqChunk(part, number, CHUNK)):
        message = PqMessage(epoch, epoch + more, chunk)
        assert decode_pq_message(encode_pq_message(message)) == message


@pytest.mark.parametrize(
    "data",
    [
        raw(part=0),
        raw(part=3),
        raw(number=PQ_CHUNKS),
        raw(epoch=2),
        raw(epoch=2)[:8],
        raw() + b"\x00",
        raw()[:-1],
        raw()[:9],
        raw()[:7],
        b"",
    ],
)
def test_anything_else_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        decode_pq_message(data)


def test_the_last_chunk_and_the_last_epoch_are_read() -> None:
    message = decode_pq_message(raw(MAX_EPOCH, MAX_EPOCH, 2, PQ_CHUNKS - 1))
    assert message == PqMessage(
        MAX_EPOCH, MAX_EPOCH, PqChunk(PqPart.CIPHERTEXT, PQ_CHUNKS - 1, CHUNK)
    )


@given(st.binary(max_size=120))
def test_garbage_is_malformed_or_canonical(data: bytes) -> None:
    try:
        message = decode_pq_message(data)
    except MalformedError:
        return
    assert encode_pq_message(message) == data
