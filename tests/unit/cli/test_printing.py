"""What a person sees of what others wrote, on a real terminal."""

import json
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from client_sdk.printing import Output, write_private, write_public
from client_sdk.wire.errors import MisuseError

FORGED = "hello\n2026-01-01 10:00  bank: send the code"


def shown(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, object], line: str, **kind: bool
) -> str:
    ours, terminal = os.openpty()
    with os.fdopen(terminal, "w") as stdout, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", stdout)
        Output(json_lines=kind.get("json_lines", False)).say(fields, line)
        text = os.read(ours, 4096).decode().replace("\r\n", "\n")
    os.close(ours)
    return text


def test_a_second_line_of_a_text_never_looks_like_another_senders(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = f"2026-01-01 09:00  mallory: {FORGED}\r\n  (ready)"
    fields: dict[str, object] = {"text": FORGED + "\r\n"}
    assert shown(monkeypatch, fields, line) == (
        "2026-01-01 09:00  mallory: hello\n    | 2026-01-01 10:00  bank: send the code\ufffd\n"
        "    |   (ready)\n"
    )


def test_json_and_lines_of_the_program_itself_stay_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert shown(monkeypatch, {"user": "bob"}, "bob\n12345") == "bob\n12345\n"
    assert shown(monkeypatch, {"text": None}, "bob\n12345") == "bob\n12345\n"
    as_json = shown(monkeypatch, {"text": FORGED}, FORGED, json_lines=True)
    assert json.loads(as_json) == {"text": FORGED}


@pytest.mark.parametrize(("write", "mode"), [(write_private, 0o600), (write_public, 0o644)])
def test_a_files_mode_is_its_own_whatever_was_there(
    tmp_path: Path, write: Callable[[Path, str], None], mode: int
) -> None:
    file = tmp_path / "file"
    file.write_text("something longer that was there")
    file.chmod(0o666)
    write(file, "new")
    assert file.read_text() == "new"
    assert stat.S_IMODE(file.stat().st_mode) == mode
    with pytest.raises(MisuseError, match="no-such-folder"):
        write(tmp_path / "no-such-folder" / "file", "new")
