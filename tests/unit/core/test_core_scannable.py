"""Safety numbers as QR codes: who scanned whom, and how the picture looks."""

import base64
import hashlib
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import segno

from client_sdk import qr
from client_sdk.core.fingerprint import SCAN_PREFIX, numeric, scannable
from client_sdk.handles import SafetyNumber
from client_sdk.machine.identity import Identity
from client_sdk.wire.errors import InvalidNameError
from client_sdk.wire.ids import UserName, parse_user

ALICE, BOB, EVE = (b"\x02" + letter * 32 for letter in (b"a", b"b", b"e"))
VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "identity.json").read_text())
ALPHANUMERIC = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:")


def number(name: bytes, key: bytes, other: bytes, other_key: bytes) -> SafetyNumber:
    shown, expected = scannable(name, key, other, other_key)
    digits = numeric(name, key, other, other_key)
    return SafetyNumber(UserName(other.decode()), digits, shown, expected, Identity.UNVERIFIED)


MINE = number(b"alice", ALICE, b"bob", BOB)
THEIRS = number(b"bob", BOB, b"alice", ALICE)


def test_each_side_s_scan_of_the_other_matches() -> None:
    assert MINE.matches(THEIRS.qr_text)
    assert THEIRS.matches(MINE.qr_text)
    assert MINE.matches(f" {THEIRS.qr_text.lower()}\n")
    assert MINE.matches(str(THEIRS))
    assert MINE.matches(THEIRS.digits)


def test_one_s_own_code_does_not_match() -> None:
    assert not MINE.matches(MINE.qr_text)


def test_a31_a_code_is_bound_to_both_names_both_keys_and_the_version() -> None:
    others = [
        number(b"bob", BOB, b"alicia", ALICE),
        number(b"bobby", BOB, b"alice", ALICE),
        number(b"bob", BOB, b"alice", EVE),
        number(b"bob", EVE, b"alice", ALICE),
    ]
    for one in others:
        assert not MINE.matches(one.qr_text)
        assert not MINE.matches(one.digits)
    for changed in (
        THEIRS.qr_text.replace("SN1", "SN2"),
        THEIRS.qr_text[:-1],
        THEIRS.qr_text + "A",
        THEIRS.qr_text.removeprefix(SCAN_PREFIX),
        "",
        "\ud800",
    ):
        assert not MINE.matches(changed)


@pytest.mark.parametrize("name", ["аlice", "Alice", "alice ", "al\u0131ce", "ALICE", ""])
def test_a31_a_name_that_looks_like_another_is_no_user(name: str) -> None:
    with pytest.raises(InvalidNameError):
        parse_user(name)


def test_the_text_of_a_code_is_frozen() -> None:
    assert MINE.digits == VECTORS["digits"]
    assert MINE.qr_text == VECTORS["qr"]
    content = base64.b32decode(MINE.qr_text.removeprefix(SCAN_PREFIX) + "=")
    for half, name, key in ((content[:32], b"alice", ALICE), (content[32:], b"bob", BOB)):
        digest = hashlib.sha512(b"\x00\x00" + key + name + key).digest()
        for _ in range(5199):
            digest = hashlib.sha512(digest + key).digest()
        assert half == digest[:32]


def test_a_code_is_small() -> None:
    assert set(MINE.qr_text) <= ALPHANUMERIC
    code = segno.make_qr(MINE.qr_text, error=qr.ERROR_CORRECTION)
    assert (code.mode, code.version) == ("alphanumeric", 5)


def test_the_svg_is_one_whole_picture() -> None:
    root = ET.fromstring(MINE.qr_svg())
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    side = (37 + 2 * qr.QUIET_MODULES) * qr.SVG_SCALE
    assert (root.get("width"), root.get("height")) == (str(side), str(side))


def test_the_lines_show_the_very_modules_of_the_code() -> None:
    text = MINE.qr_text
    matrix = [
        [bool(one) for one in row]
        for row in segno.make_qr(text, error=qr.ERROR_CORRECTION).matrix_iter(
            border=qr.QUIET_MODULES
        )
    ]
    drawn: list[list[bool]] = []
    for line in MINE.qr_lines().split("\n"):
        drawn.append([one in "▄ " for one in line])
        drawn.append([one in "▀ " for one in line])
    assert drawn[: len(matrix)] == matrix
    assert not any(any(row) for row in drawn[len(matrix) :])


def test_no_key_of_the_number_is_needed_twice() -> None:
    assert MINE.digits == THEIRS.digits
    assert MINE.qr_text == THEIRS.scan_expected
