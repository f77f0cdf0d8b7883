"""Skipped message keys, packed side by side, beside a plain dictionary."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.core.errors import DuplicateMessageError
from client_sdk.core.kdf import MessageKey
from client_sdk.core.skipped_keys import BLOCK_KEYS, ENTRY_BYTES, NO_SKIPPED_KEYS, SkippedKeys

HIGHEST = 2**32 - 1


def key_of(number: int) -> MessageKey:
    return MessageKey(number.to_bytes(32))


def packed(numbers: list[int]) -> SkippedKeys:
    keys = NO_SKIPPED_KEYS
    for number in numbers:
        keys = keys.followed_by(number, [key_of(number)])
    return keys


@given(st.lists(st.integers(0, HIGHEST), max_size=40, unique=True))
def test_every_key_is_found_and_taken_out_whatever_is_missing_between(arrival: list[int]) -> None:
    left = sorted(arrival)
    keys = packed(left)
    assert keys.numbers() == left
    for number in arrival:
        place = keys.find(number)
        assert keys.key(place) == key_of(number)
        keys = keys.without(place)
        left.remove(number)
        assert keys.numbers() == left
        assert len(keys) == keys.count == len(left)
        with pytest.raises(DuplicateMessageError):
            keys.find(number)
    assert keys == NO_SKIPPED_KEYS


@given(st.sets(st.integers(0, 60), max_size=40), st.integers(0, HIGHEST))
def test_a_number_without_a_key_is_refused(numbers: set[int], wanted: int) -> None:
    keys = packed(sorted(numbers))
    if wanted in numbers:
        assert keys.key(keys.find(wanted)) == key_of(wanted)
    else:
        with pytest.raises(DuplicateMessageError):
            keys.find(wanted)


def test_consecutive_keys_follow_those_that_are_there() -> None:
    keys = packed([3, 7]).followed_by(9, [key_of(9), key_of(10)])
    assert keys.numbers() == [3, 7, 9, 10]
    assert len(keys) == 4
    assert len(keys.packed) == 4 * ENTRY_BYTES


@pytest.mark.parametrize("count", [BLOCK_KEYS - 1, BLOCK_KEYS, BLOCK_KEYS + 1, 5 * BLOCK_KEYS])
@given(data=st.data())
def test_long_rows_are_taken_apart_in_any_order_and_stored_alike(
    count: int, data: st.DataObject
) -> None:
    first = data.draw(st.integers(0, 300))
    keys = packed([]).followed_by(first, [key_of(first + i) for i in range(count)])
    left = list(range(first, first + count))
    for number in data.draw(st.lists(st.sampled_from(left), unique=True)):
        keys = keys.without(keys.find(number))
        left.remove(number)
        assert keys.packed == packed(left).packed
        with pytest.raises(DuplicateMessageError):
            keys.find(number)
    for number in left:
        assert keys.key(keys.find(number)) == key_of(number)


def test_keys_are_equal_in_whatever_blocks_they_lie() -> None:
    numbers = list(range(3 * BLOCK_KEYS))
    taken = packed(numbers)
    taken = taken.without(taken.find(5))
    again = SkippedKeys.from_packed(taken.packed)
    assert taken == again
    assert hash(taken) == hash(again)
    assert hash(taken) != hash(packed(numbers))
    assert taken != packed(numbers)
    assert taken != taken.packed


def test_the_oldest_give_way_first() -> None:
    keys = packed([1, 2, 3, 4])
    assert keys.without_oldest(0) == keys
    assert keys.without_oldest(3).numbers() == [4]
    assert len(keys.without_oldest(3)) == 1
    assert keys.without_oldest(4) == NO_SKIPPED_KEYS


def test_a53_no_skipped_key_shows_in_a_repr() -> None:
    assert repr(packed([1, 2])) == "SkippedKeys()"


def test_keys_that_come_from_the_store_are_counted() -> None:
    keys = SkippedKeys.from_packed(packed([3, 7, 9]).packed)
    assert keys == packed([3, 7, 9])
    assert len(keys) == 3


def test_the_text_of_keys_shows_none() -> None:
    assert repr(packed([3])) == "SkippedKeys()"
