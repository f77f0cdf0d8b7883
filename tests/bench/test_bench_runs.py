"""The bench runs, shows every row that was asked for, and writes what programs can read."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bench.report import show
from tests.bench.rows import Label, rate_row, time_row, times_raw

LATE = ("decrypt.late_first", "decrypt.late_each")
IN_MEMORY = ("encrypt.in_chain", "decrypt.in_chain", "pair.ping_pong", *LATE)
COMPARED = {
    "handshake.list",
    "handshake.initiate",
    "handshake.accept",
    *IN_MEMORY,
    *(f"{key}.serialised" for key in IN_MEMORY),
    "store.commit",
    "store.commit_group",
    "travel.one_way",
    "travel.receipted",
    "travel.ping_pong_p50",
    "travel.ping_pong_p99",
    "travel.waiting",
    "travel.first",
}
SIZES = {"size.session", "size.session_largest", "size.skipped_key", "memory.sessions"}
RAW = {
    "raw.x25519_exchange",
    "raw.seal",
    "raw.open",
    "raw.commit",
    "raw.commit_group",
    "raw.one_way",
    "raw.ping_pong_p50",
    "raw.ping_pong_p99",
    "raw.waiting",
    "raw.first",
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    output = tmp_path_factory.mktemp("bench") / "bench.json"
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--tiny", "--output", str(output)],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(output.read_text())


def test_every_row_is_there_with_its_samples_and_spread(ran: tuple[str, dict[str, Any]]) -> None:
    rows = ran[1]["rows"]
    assert set(rows) == COMPARED | RAW | SIZES
    for key, row in rows.items():
        assert row["n"] >= 1
        assert 0 < row["low"] <= row["high"]
        assert row["value"] > 0
        assert row["unit"] in ({"B", "MB"} if key in SIZES else {"us", "ms", "msg/s"})


def test_every_row_of_ours_is_compared_with_a_raw_one(ran: tuple[str, dict[str, Any]]) -> None:
    rows = ran[1]["rows"]
    for key in COMPARED:
        assert rows[key]["raw"] in RAW
        assert rows[key]["times_raw"] > 0
    assert all(rows[key]["raw"] is None for key in RAW | SIZES)


def test_the_file_says_what_was_measured_on_and_how(ran: tuple[str, dict[str, Any]]) -> None:
    facts = ran[1]
    assert {"cpu", "cores", "system", "python", "sqlite", "versions"} == set(facts["machine"])
    assert {"cryptography", "aiomqtt", "amqtt"} <= set(facts["machine"]["versions"])
    assert facts["settings"]["subscribe_qos"] == 0
    assert facts["settings"]["waiting"] == 10


def test_away_from_a_terminal_the_table_is_plain_text(ran: tuple[str, dict[str, Any]]) -> None:
    out, facts = ran
    assert "\x1b" not in out
    assert out.isprintable() or all(line.isprintable() for line in out.splitlines())
    for row in facts["rows"].values():
        assert row["title"] in out


def test_as_markdown_the_table_can_be_put_into_the_documentation(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ours, raw = Label("ours", "ours", "raw"), Label("raw", "raw: theirs")
    show([time_row(raw, "us", [4_000]), time_row(ours, "us", [2_000])], markdown=True)
    shown = capsys.readouterr().out.splitlines()
    assert shown[1] == "| --- | ---: | ---: | ---: | ---: |"
    assert shown[3] == "| ours | 2.00 us | 2.00 – 2.00 | 1 | 0.50 |"


def test_a_ratio_says_how_many_times_as_long_the_raw_way_takes() -> None:
    slow, fast = Label("ours", "ours", "raw"), Label("raw", "raw")
    assert times_raw(time_row(slow, "ms", [2_000_000]), time_row(fast, "us", [500_000])) == 4
    assert times_raw(rate_row(slow, [250.0]), rate_row(fast, [1000.0])) == 4
