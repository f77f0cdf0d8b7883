"""One changed character makes an invitation invalid, and none of its secrets is ever shown."""

import base64
import hashlib

import pytest

from client_sdk.wire.codec import encode
from client_sdk.wire.errors import InvalidInvitationError
from client_sdk.wire.invitation import (
    INVITATION_PREFIX,
    MAX_BROKER_URLS,
    format_invitation,
    parse_invitation,
    password_text,
    secret_hash,
)
from tests.unit.wire.samples import INVITATION, fill

LINE = format_invitation(INVITATION)


def _line(packed: bytes) -> str:
    data = packed + hashlib.sha256(packed).digest()[:4]
    return INVITATION_PREFIX + base64.urlsafe_b64encode(data).decode()


def test_an_invitation_comes_back_from_its_line() -> None:
    assert parse_invitation(LINE) == INVITATION
    assert parse_invitation(f"  {LINE}\r\n") == INVITATION
    assert "\n" not in LINE
    assert len(LINE) < 2400


def test_every_changed_character_is_noticed() -> None:
    for position, original in enumerate(LINE):
        for other in {"A", "-", "+", "/", "=", "é", "\x00", " ", chr(ord(original) ^ 1)} - {
            original
        }:
            changed = LINE[:position] + other + LINE[position + 1 :]
            if changed.strip() != LINE:
                with pytest.raises(InvalidInvitationError):
                    parse_invitation(changed)


def test_every_truncation_and_every_longer_line_is_noticed() -> None:
    for length in range(len(LINE)):
        with pytest.raises(InvalidInvitationError):
            parse_invitation(LINE[:length])
    for longer in (LINE + "A", LINE + "=", LINE + LINE, LINE + " x", f"{LINE}\n{LINE}"):
        with pytest.raises(InvalidInvitationError):
            parse_invitation(longer)


@pytest.mark.parametrize(
    "text", ["", "rmq1.", "rmq2." + LINE[5:], "hello", "\x00", "é" * 50, LINE[5:]]
)
def test_other_text_is_not_an_invitation_and_nothing_was_stored(text: str) -> None:
    with pytest.raises(InvalidInvitationError, match="nothing was stored"):
        parse_invitation(text)


def test_a_checksum_that_fits_does_not_make_a_record_valid() -> None:
    good = [*INVITATION]
    for position, value in {
        0: (),
        1: "#",
        2: "x",
        3: fill(31, 0),
        4: "+",
        5: fill(34, 0),
        6: fill(1215, 0),
        7: b"",
        8: -1,
    }.items():
        fields = [*good]
        fields[position] = value
        with pytest.raises(InvalidInvitationError, match="damaged"):
            parse_invitation(_line(encode(tuple(fields))))
    assert parse_invitation(_line(encode(tuple(good)))) == INVITATION


def test_an_invitation_names_1_to_8_brokers_of_at_most_256_characters() -> None:
    full = INVITATION._replace(broker_urls=("m" * 256,) * MAX_BROKER_URLS)
    assert parse_invitation(format_invitation(full)) == full
    for urls in ((), ("m",) * (MAX_BROKER_URLS + 1), ("m" * 257,)):
        with pytest.raises(InvalidInvitationError):
            parse_invitation(format_invitation(INVITATION._replace(broker_urls=urls)))


def test_no_secret_stands_in_a_repr_or_an_error() -> None:
    secret = INVITATION.password
    assert repr(INVITATION) == "Invitation(user='alice')"
    with pytest.raises(InvalidInvitationError) as caught:
        parse_invitation(_line(encode((*INVITATION, 1))))
    shown = f"{caught.value!r} {caught.value.__cause__!r} {caught.value}"
    assert repr(secret)[2:-1] not in shown
    assert LINE[20:60] not in shown


def test_a_password_is_43_safe_characters_and_the_server_keeps_their_hash() -> None:
    text = password_text(fill(32, 250))
    assert len(text) == 43
    assert text.replace("-", "").replace("_", "").isalnum()
    assert secret_hash(text) == hashlib.sha256(text.encode()).digest()
