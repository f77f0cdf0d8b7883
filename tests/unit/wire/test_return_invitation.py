"""The invitation of an account that exists is the same kind of line, with where it stands."""

import json
from pathlib import Path

import pytest

from client_sdk.wire.errors import InvalidInvitationError
from client_sdk.wire.ids import DeviceNumber
from client_sdk.wire.invitation import (
    INVITATION_PREFIX,
    ReturnInvitation,
    Standing,
    format_invitation,
    parse_any_invitation,
    parse_invitation,
)
from client_sdk.wire.limits import MAX_DEVICE_NUMBER, MAX_DEVICES
from tests.unit.wire.samples import INVITATION, LIST, fill

STANDING = Standing(True, DeviceNumber(2), LIST)
RETURNING = ReturnInvitation(INVITATION, STANDING)


def test_both_kinds_come_back_from_their_lines() -> None:
    line = format_invitation(RETURNING)
    assert line.startswith(INVITATION_PREFIX)
    assert parse_any_invitation(f" {line}\n") == RETURNING
    assert parse_invitation(line) == INVITATION
    plain = format_invitation(INVITATION)
    assert parse_any_invitation(plain) == INVITATION
    assert not isinstance(parse_any_invitation(plain), ReturnInvitation)


def test_the_line_is_frozen() -> None:
    file = Path(__file__).parents[2] / "vectors" / "identity.json"
    assert format_invitation(RETURNING) == json.loads(file.read_text())["return invitation"]


def test_every_changed_or_missing_character_is_noticed() -> None:
    line = format_invitation(RETURNING)
    for at in range(0, len(line), 7):
        other = "A" if line[at] != "A" else "B"
        for changed in (line[:at] + other + line[at + 1 :], line[:at], line[:at] + line[at + 1 :]):
            with pytest.raises(InvalidInvitationError, match="nothing was stored"):
                parse_any_invitation(changed)


@pytest.mark.parametrize(
    "standing",
    [
        STANDING._replace(device_number=DeviceNumber(0)),
        STANDING._replace(device_number=DeviceNumber(MAX_DEVICE_NUMBER + 1)),
        STANDING._replace(device_list=LIST._replace(version=0)),
        STANDING._replace(device_list=LIST._replace(previous_hash=fill(31, 9))),
        STANDING._replace(device_list=None),
        STANDING._replace(may_reset=2),
    ],
)
def test_a_standing_out_of_bounds_is_refused(standing: Standing) -> None:
    with pytest.raises(InvalidInvitationError):
        parse_any_invitation(format_invitation(ReturnInvitation(INVITATION, standing)))


def test_the_last_device_number_is_a_good_one() -> None:
    last = STANDING._replace(device_number=DeviceNumber(MAX_DEVICE_NUMBER), may_reset=False)
    line = format_invitation(ReturnInvitation(INVITATION, last))
    assert parse_any_invitation(line) == ReturnInvitation(INVITATION, last)


def test_a_list_of_the_most_devices_fits_into_a_line() -> None:
    full = LIST._replace(devices=LIST.devices[:1] * MAX_DEVICES)
    invitation = INVITATION._replace(broker_urls=("mqtt://" + "h" * 249,) * 2)
    returning = ReturnInvitation(invitation, STANDING._replace(device_list=full))
    assert parse_any_invitation(format_invitation(returning)) == returning


def test_no_secret_of_it_stands_in_its_repr() -> None:
    assert repr(INVITATION.password)[2:-1] not in repr(RETURNING)
