"""What the documentation names exists, and what it needs stands in it."""

import re
from pathlib import Path

import pytest
import typer.core
import typer.main

from broker.program import app
from broker.settings import BrokerSettings
from client_sdk.wire import limits
from keydir.config import DirectorySettings

ROOT = Path(__file__).parents[3]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


def _tests() -> set[str]:
    sources = (path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    return {name for source in sources for name in re.findall(r"def (test_\w+)\(", source)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    named = set(re.findall(r"`(test_\w+)`", page.read_text()))
    assert named - _tests() == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_links_to_exists(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_attack_in_the_threat_model_has_a_test() -> None:
    text = (ROOT / "docs" / "threat_model.md").read_text()
    rows = text.split("|---|---|---|\n")[-1].strip().splitlines()
    assert len(rows) > 20
    assert [row for row in rows if not re.search(r"\| `test_\w+` \|$", row)] == []


LIMITS = {
    "MQTT packet": limits.MAX_PACKET_BYTES,
    "envelope": limits.MAX_ENVELOPE_BYTES,
    "header": limits.MAX_HEADER_BYTES,
    "padded content": limits.MAX_PADDED_CONTENT_BYTES,
    "text in UTF-8, or data": limits.MAX_TEXT_BYTES,
    "directory request or reply": limits.MAX_DIRECTORY_BYTES,
    "invitation line, or link code": limits.MAX_INVITATION_CHARACTERS,
}


def test_the_protocol_page_has_the_sizes_that_the_code_has() -> None:
    text = (ROOT / "docs" / "protocol.md").read_text()
    table = text.split("| kind | at most |\n|---|---|\n")[1].split("\n\n")[0]
    rows = re.findall(r"^\| (.+) \| (\d+) KiB(?: of characters)? \|$", table, re.MULTILINE)
    assert len(rows) == len(table.splitlines())
    assert {kind: int(size) * limits.KIB for kind, size in rows} == LIMITS
    assert f"A device number is 1 to {limits.MAX_DEVICE_NUMBER}." in text
    assert f"A user has at most {limits.MAX_DEVICES} devices." in text
    assert f"oldest first, at most {limits.MAX_SUPERSEDED}." in text


def test_security_page_says_plainly_that_there_was_no_audit() -> None:
    assert "has not been audited" in (ROOT / "SECURITY.md").read_text()


def test_the_table_of_settings_says_which_have_no_flag_or_another_one() -> None:
    text = (ROOT / "docs" / "settings.md").read_text()
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    tables = (
        ("serve", BrokerSettings, text.partition("### The directory")[0]),
        ("keydir", DirectorySettings, text.partition("### The directory")[2]),
    )
    for command, model, table in tables:
        flags = {flag for one in group.commands[command].params for flag in one.opts}
        rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE))
        for name in model.model_fields.keys() - {"poll_seconds", "quiet_seconds"}:
            told = re.search(r"; (?:`(--[a-z-]+)` as a flag|no flag)", rows[name])
            flag = f"--{name.replace('_', '-')}" if told is None else told[1]
            assert flag is None or flag in flags, name
            assert flag is not None or f"--{name.replace('_', '-')}" not in flags, name


LOCKS = sorted(path.name for path in ROOT.glob("requirements*.lock"))


@pytest.mark.parametrize("name", [*LOCKS, "Makefile", "pyproject.toml"])
def test_nothing_names_a_package_index_or_a_path_of_one_machine(name: str) -> None:
    text = (ROOT / name).read_text()
    assert (
        re.findall(r"https?://|--(?:extra-)?index-url |--find-links|/(?:home|work|opt|tmp)/", text)
        == []
    )


@pytest.mark.parametrize("name", LOCKS)
def test_every_pinned_package_has_hashes(name: str) -> None:
    text = (ROOT / name).read_text().replace("\\\n", "")
    pinned = [line for line in text.splitlines() if re.match(r"[a-z]", line)]
    assert len(pinned) > (30 if name == "requirements.lock" else 0)
    assert [line for line in pinned if "==" not in line or "--hash=sha256:" not in line] == []
