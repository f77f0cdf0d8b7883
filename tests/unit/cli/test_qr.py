"""QR codes of short and long texts, and the files that they are written to."""

import stat
from pathlib import Path

import pytest
import segno

from client_sdk import qr
from client_sdk.device_handles import LinkRequest
from client_sdk.printing import write_private
from client_sdk.wire.errors import MisuseError
from client_sdk.wire.ids import DeviceAddress


@pytest.mark.parametrize(
    ("length", "level"), [(qr.SHORT_TEXT_BYTES, "M"), (qr.SHORT_TEXT_BYTES + 1, "L")]
)
def test_a_short_text_is_drawn_so_that_more_of_it_may_be_hidden(length: int, level: str) -> None:
    expected = segno.make_qr("x" * length, error=level)
    assert qr.svg("x" * length).count("h") > 100
    assert qr._code("x" * length).matrix == expected.matrix


def test_a_code_holds_2953_bytes_and_not_one_more() -> None:
    assert qr.svg("x" * qr.MAX_TEXT_BYTES).startswith("<svg")
    for longer in ("x" * (qr.MAX_TEXT_BYTES + 1), "x" * (qr.MAX_TEXT_BYTES - 1) + "ß"):
        with pytest.raises(qr.TextTooLongError, match=r"295[45] bytes"):
            qr.svg(longer)


def test_a_link_is_shown_as_a_code_of_its_whole_line() -> None:
    request = LinkRequest("rmqlink1.secret", DeviceAddress("alice-2"), 5)
    assert request.qr_svg() == qr.svg("rmqlink1.secret")


def test_a_written_code_is_for_its_owner_s_eyes(tmp_path: Path) -> None:
    file = tmp_path / "code.svg"
    file.write_text("what was there before, and longer")
    file.chmod(0o644)
    write_private(file, "<svg/>")
    assert file.read_text() == "<svg/>"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(MisuseError, match="choose another place"):
        write_private(tmp_path / "none" / "code.svg", "<svg/>")
