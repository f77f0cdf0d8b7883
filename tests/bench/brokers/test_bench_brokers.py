"""The comparison of brokers runs, names what is missing, bounds what is slow, leaves nothing."""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bench.brokers import brokers
from tests.bench.brokers.brokers import TITLES, running
from tests.bench.brokers.sheet import Line, Sheet
from tests.bench.brokers.table import show
from tests.bench.brokers.targets import targets_of, told
from tests.bench.brokers.workers import GoneError

ROOT = Path(__file__).parents[3]
TRAVEL = {f"{kind}.w{window}" for kind in ("plain", "mail") for window in (1, 20)}
CROWD = {f"crowd.{kind}.{size}" for kind in ("plain", "mail") for size in (2, 10)}
KEYS = {
    *TRAVEL,
    *CROWD,
    *(f"{key}.{more}" for key in (*TRAVEL, *CROWD) for more in ("p50", "p99", "cpu")),
    *(f"ping.{kind}.{share}" for kind in ("plain", "mail") for share in ("p50", "p99")),
    *(f"waiting.{what}" for what in ("filled", "left", "read")),
    *(f"memory.{what}" for what in ("empty", "crowd", "waiting", "message", "read")),
}


def bench(*arguments: str, output: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.bench.brokers", "--tiny", *arguments]
    return subprocess.Popen(
        [*command, "--output", str(output)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    output = tmp_path_factory.mktemp("bench") / "brokers.json"
    process = bench(output=output)
    out, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    return out, json.loads(output.read_text())


@pytest.mark.long
def test_every_row_of_both_brokers_is_there(ran: tuple[str, dict[str, Any]]) -> None:
    out, facts = ran
    assert facts["notes"] == []
    rows = {f"{name}.{key}" for name in ("ours", "amqtt") for key in KEYS}
    beside = {key for key in facts["rows"] if ".beside" in key}
    assert len(beside) == 8
    assert set(facts["rows"]) - beside == rows | {"disk.sync.p50", "disk.sync.p99"}
    assert all(row["value"] > 0 for key, row in facts["rows"].items() if "message" not in key)
    assert all(TITLES[name] in out for name in ("ours", "amqtt"))


@pytest.mark.long
def test_every_target_has_a_verdict_and_what_was_not_run_says_so(
    ran: tuple[str, dict[str, Any]],
) -> None:
    verdicts = {target["title"]: target["met"] for target in ran[1]["targets"]}
    without_mosquitto = {title for title, met in verdicts.items() if met is None}
    assert len(verdicts) == 7
    assert all("Mosquitto" in title for title in without_mosquitto)
    assert ran[0].count("not measured") == len(without_mosquitto) == 2


@pytest.mark.long
def test_the_end_by_a_signal_shows_what_was_measured_and_leaves_no_process(
    tmp_path: Path,
) -> None:
    process = bench("--broker", "ours", output=tmp_path / "cut.json")
    assert process.stdout is not None
    while "round 1" not in (line := process.stdout.readline()):
        assert line
    children = children_of(process.pid)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert "ended by a signal" in out
    assert len(children) == 3
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]


def children_of(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in found.split()]


def test_a_broker_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "nats-server" in (brokers.why_missing("nats", None) or "")
    assert brokers.why_missing("ours", None) is None
    monkeypatch.setattr(brokers, "_mosquitto", lambda: None)
    assert "mosquitto" in (brokers.why_missing("mosquitto", None) or "")


async def test_a_broker_that_does_not_start_is_told_and_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(GoneError, match="nats did not start"):
        async with asyncio.timeout(10), running("nats", tmp_path / "x", {}, Path("/bin/false")):
            pass


def sheet_of(**values: float) -> Sheet:
    sheet = Sheet()
    for key, value in values.items():
        broker, _, row = key.partition("__")
        row = row.replace("_", ".")
        sheet.add(Line(row, row, "msg/s"), broker, value)
    return sheet


@pytest.mark.parametrize(("ours", "met"), [(300.0, True), (299.0, False)])
def test_three_times_is_met_at_three_times(ours: float, met: bool) -> None:
    sheet = sheet_of(ours__crowd_mail_1000=ours, amqtt__crowd_mail_1000=100.0)
    verdicts = [target.met for target in targets_of(sheet, (10, 1000, 10_000))]
    assert verdicts == [None, met, None, None, None, None, None]


@pytest.mark.parametrize(("many", "met"), [(100.0, True), (99.0, False)])
def test_a_crowd_may_cost_three_tenths(many: float, met: bool) -> None:
    sheet = sheet_of(ours__crowd_plain_10_beside=130.0, ours__crowd_plain_10000=many)
    target = targets_of(sheet, (10, 1000, 10_000))[5]
    assert target.met is met
    assert ("NOT MET" in told(target)) is not met


def test_the_table_has_a_column_for_each_broker_and_both_quantiles_in_one_cell(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sheet = sheet_of(ours__ping_mail_p50=0.5, ours__ping_mail_p99=12.0, mosquitto__ping_mail_p50=1)
    show(sheet, [], markdown=True)
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "| median of the turns | RatchetMQ (durable) | Mosquitto |"
    assert shown[1] == "| --- | ---: | ---: |"
    assert "| 0.50 / 12.0 | 1.00 / 0.00 |" in shown[2]
    assert len([line for line in shown if line.startswith("|")]) == 3
