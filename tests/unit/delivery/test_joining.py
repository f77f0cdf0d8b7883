"""Codes and invitations that do not fit are refused before a store is made or anything is sent."""
# ruff: noqa: ASYNC240 - nothing else runs in these loops

from pathlib import Path
from typing import Any

import pytest

from client_sdk import Messenger
from client_sdk.core.errors import InvalidRecoveryCodeError
from client_sdk.core.keys import Ed25519KeyPair
from client_sdk.core.recovery_code import encode_recovery_code
from client_sdk.delivery.errors import WrongInvitationError, WrongRecoveryCodeError
from client_sdk.entropy import draw_ed25519
from client_sdk.wire.errors import InvalidInvitationError, MessagingError, MisuseError
from client_sdk.wire.ids import DeviceNumber
from client_sdk.wire.invitation import ReturnInvitation, Standing, format_invitation
from tests.unit.machine.machine_parties import make_record

RECORD = make_record("alice")
CODE = encode_recovery_code(Ed25519KeyPair.from_private_bytes(RECORD.account_private))
STANDING = Standing(False, DeviceNumber(2), RECORD.device_list)
LINE = format_invitation(ReturnInvitation(RECORD.invitation, STANDING))
UNSIGNED = RECORD.device_list._replace(version=7)


@pytest.mark.parametrize(
    ("line", "code", "refused"),
    [
        (LINE, CODE[:-1], InvalidRecoveryCodeError),
        (LINE, CODE[:-1] + ("0" if CODE[-1] != "0" else "1"), InvalidRecoveryCodeError),
        (LINE, encode_recovery_code(draw_ed25519()), WrongRecoveryCodeError),
        (format_invitation(RECORD.invitation), CODE, WrongInvitationError),
        (
            format_invitation(
                ReturnInvitation(RECORD.invitation, STANDING._replace(device_list=UNSIGNED))
            ),
            CODE,
            InvalidInvitationError,
        ),
        (LINE[:-9], CODE, InvalidInvitationError),
    ],
    ids=[
        "a short code",
        "a wrong check character",
        "another account's code",
        "an invitation of a new user",
        "a list that is not signed",
        "a line cut short",
    ],
)
async def test_recover_says_what_is_wrong_and_makes_nothing(
    tmp_path: Path, line: str, code: str, refused: type[MessagingError]
) -> None:
    with pytest.raises(refused, match=r"nothing was (changed|stored)") as caught:
        await Messenger.recover(line, tmp_path / "store.db", recovery_code=code)
    assert CODE[:9] not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


async def test_enroll_does_not_take_an_invitation_that_only_recovers(tmp_path: Path) -> None:
    with pytest.raises(WrongInvitationError, match="use recover; nothing was stored"):
        await Messenger.enroll(LINE, tmp_path / "store.db")
    assert list(tmp_path.iterdir()) == []


async def test_something_else_than_a_line_is_named_and_makes_nothing(tmp_path: Path) -> None:
    nothing: Any = None
    with pytest.raises(MisuseError, match="invitation is not str but NoneType; nothing was stored"):
        await Messenger.enroll(nothing, tmp_path / "store.db")
    with pytest.raises(MisuseError, match="recovery code is not str"):
        await Messenger.recover(LINE, tmp_path / "store.db", recovery_code=nothing)
    assert list(tmp_path.iterdir()) == []
