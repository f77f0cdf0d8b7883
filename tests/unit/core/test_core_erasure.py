"""Chunks: the first are the text itself, and any few of all restore it."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client_sdk.core.erasure import chunk_count, chunk_of, piece, restore
from client_sdk.wire.pq_message import PQ_CHUNK_BYTES, PQ_CHUNKS

KEY = random.Random(768).randbytes(1184)


def product(one: int, other: int) -> int:
    """Multiply in the field, bit by bit."""
    total = 0
    for bit in range(8):
        if other >> bit & 1:
            total ^= one << bit
    for bit in range(14, 7, -1):
        if total >> bit & 1:
            total ^= 0x11D << (bit - 8)
    return total


def test_the_first_chunks_are_the_text() -> None:
    count = chunk_count(len(KEY))
    assert count == 13
    chunks = [chunk_of(KEY, number) for number in range(count)]
    assert b"".join(chunks) == KEY.ljust(13 * PQ_CHUNK_BYTES, b"\x00")


@pytest.mark.parametrize(("size", "count"), [(1, 1), (96, 1), (97, 2), (1088, 12), (1184, 13)])
def test_a_text_has_as_many_chunks_as_it_needs(size: int, count: int) -> None:
    assert chunk_count(size) == count


def test_a_computed_chunk_is_the_polynomial_through_the_first_ones() -> None:
    text = bytes(PQ_CHUNK_BYTES) + bytes((1,)) * PQ_CHUNK_BYTES
    for number in range(2, PQ_CHUNKS):  # through (0, 0) and (1, 1): the value at x is x
        assert chunk_of(text, number) == bytes((number,)) * PQ_CHUNK_BYTES
    text = bytes((7,)) * PQ_CHUNK_BYTES + bytes((7 ^ 9,)) * PQ_CHUNK_BYTES
    for number in range(2, PQ_CHUNKS):  # 7 + 9x
        assert chunk_of(text, number) == bytes((7 ^ product(9, number),)) * PQ_CHUNK_BYTES


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([1, 96, 500, 1088, 1184]), st.randoms(use_true_random=False))
def test_any_few_chunks_in_any_order_restore_the_text(size: int, chance: random.Random) -> None:
    text = KEY[:size]
    numbers = chance.sample(range(PQ_CHUNKS), chunk_count(size))
    pieces = b"".join([piece(number, chunk_of(text, number)) for number in numbers])
    assert restore(pieces, size) == text


@pytest.mark.parametrize("dropped", range(PQ_CHUNKS))
def test_no_single_chunk_is_needed(dropped: int) -> None:
    numbers = [number for number in range(PQ_CHUNKS) if number != dropped]
    for chosen in (numbers[:13], numbers[-13:]):
        pieces = b"".join([piece(one, chunk_of(KEY, one)) for one in chosen])
        assert restore(pieces, len(KEY)) == KEY
