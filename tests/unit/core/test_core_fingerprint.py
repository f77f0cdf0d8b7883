"""Safety number and recovery code."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.core.errors import InvalidRecoveryCodeError
from client_sdk.core.fingerprint import MAX_ITERATIONS, matches, numeric
from client_sdk.core.keys import Ed25519KeyPair
from client_sdk.core.recovery_code import (
    GROUP_CHARACTERS,
    GROUPS,
    decode_recovery_code,
    encode_recovery_code,
)
from client_sdk.wire.errors import MisuseError
from tests.vectors.core_parties import Keys

ALICE, BOB = b"\x02" + b"a" * 32, b"\x02" + b"b" * 32
CODE = encode_recovery_code(Keys(b"recovery").ed25519())


def test_both_sides_see_the_same_digits() -> None:
    ours = numeric(b"alice", ALICE, b"bob", BOB, 10)
    assert ours == numeric(b"bob", BOB, b"alice", ALICE, 10)
    assert len(ours) == 60
    assert ours.isdecimal()


def test_a31_every_input_changes_the_digits() -> None:
    ours = numeric(b"alice", ALICE, b"bob", BOB, 10)
    assert ours not in {
        numeric(b"alicE", ALICE, b"bob", BOB, 10),
        numeric(b"alice", BOB, b"bob", BOB, 10),
        numeric(b"alice", ALICE, b"rob", BOB, 10),
        numeric(b"alice", ALICE, b"bob", ALICE, 10),
        numeric(b"alice", ALICE, b"bob", BOB, 11),
    }


@pytest.mark.parametrize("iterations", [-1, 0, 1, MAX_ITERATIONS + 1])
def test_iterations_out_of_range_are_misuse(iterations: int) -> None:
    with pytest.raises(MisuseError):
        numeric(b"alice", ALICE, b"bob", BOB, iterations)


def test_two_iterations_are_the_least() -> None:
    assert len(numeric(b"alice", ALICE, b"bob", BOB, 2)) == 60


def test_a_scan_matches_only_the_same_digits() -> None:
    digits = numeric(b"alice", ALICE, b"bob", BOB, 2)
    assert matches(digits, digits)
    for scanned in (digits[:-1], "", digits[::-1], "٣" * 60, "\ud800"):
        assert not matches(digits, scanned)


@given(st.binary(min_size=32, max_size=32))
def test_a_recovery_code_gives_the_same_account_key(private: bytes) -> None:
    account = Ed25519KeyPair.from_private_bytes(private)
    code = encode_recovery_code(account)
    assert decode_recovery_code(code).private_bytes() == private
    assert [len(group) for group in code.split("-")] == [GROUP_CHARACTERS] * GROUPS


@pytest.mark.parametrize(
    "typed",
    [
        CODE.lower(),
        CODE.replace("-", ""),
        CODE.replace("-", " "),
        f"\n {CODE}\n",
        CODE.replace("0", "O").replace("1", "l"),
        CODE.replace("0", "o").replace("1", "I"),
    ],
)
def test_a_code_is_read_as_it_was_meant(typed: str) -> None:
    expected = Keys(b"recovery").ed25519()
    assert decode_recovery_code(typed) == expected


def test_every_single_wrong_character_is_found() -> None:
    for at, character in enumerate(CODE):
        if character != "-":
            wrong = "2" if character != "2" else "3"
            with pytest.raises(InvalidRecoveryCodeError):
                decode_recovery_code(CODE[:at] + wrong + CODE[at + 1 :])


def test_exchanged_groups_are_found() -> None:
    groups = CODE.split("-")
    groups[0], groups[1] = groups[1], groups[0]
    with pytest.raises(InvalidRecoveryCodeError):
        decode_recovery_code("-".join(groups))


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ("", "0 characters"),
        (CODE[:-1], "55 characters"),
        (CODE + "A", "57 characters"),
        (CODE[:-1] + "U", "no code has"),
        (CODE[:-1] + "é", "no code has"),
    ],
)
def test_the_error_says_what_is_wrong_and_repeats_nothing(typed: str, reason: str) -> None:
    with pytest.raises(InvalidRecoveryCodeError, match=reason) as caught:
        decode_recovery_code(typed)
    assert CODE[:9] not in str(caught.value)
    assert isinstance(caught.value, MisuseError)


@given(st.text(max_size=80))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidRecoveryCodeError):
        decode_recovery_code(text)
