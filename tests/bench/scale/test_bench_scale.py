"""The bench of scale runs its smallest real row of each kind, and draws what it found."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.bench.scale.directory import BundleRow
from tests.bench.scale.plot import Chart, draw
from tests.bench.scale.table import verdicts

ROOT = Path(__file__).parents[3]


def ran(folder: Path, *arguments: str) -> dict[str, Any]:
    output = folder / "scale.json"
    command = [sys.executable, "-m", "tests.bench.scale", "--tiny", "--output", str(output)]
    done = subprocess.run(
        [*command, "--plots", str(folder / "plots"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    facts: dict[str, Any] = json.loads(output.read_text())
    assert facts["notes"] == [], done.stderr
    return facts


def drawn(file: Path) -> str:
    return " ".join(text.strip() for text in ET.parse(file).getroot().itertext())


@pytest.mark.long
def test_two_clients_write_to_each_other_over_the_embedded_broker(tmp_path: Path) -> None:
    facts = ran(tmp_path, "--part", "messages", "--broker", "embedded")
    (row,) = facts["travel"]
    assert (row["broker"], row["clients"]) == ("embedded", 2)
    assert row["rate"] > 0
    assert 0 < row["p50"] <= row["p99"]
    assert row["samples"] == facts["settings"]["paced"] * facts["settings"]["seconds"]
    assert set(row["cores"]) == {"broker + directory", "clients"}
    assert "messages/s" in drawn(tmp_path / "plots" / "messages-by-clients.svg")


@pytest.mark.long
def test_one_replica_hands_out_bundles_of_fifty_users(tmp_path: Path) -> None:
    facts = ran(tmp_path, "--part", "directory", "--database", "sqlite")
    (row,) = facts["bundles"]
    assert (row["database"], row["users"], row["replicas"]) == ("sqlite", 50, 1)
    assert row["rate"] > 0
    assert row["samples"] == facts["settings"]["alone"]
    assert 0 < row["p50"] <= row["p99"]
    assert "bundles/s" in drawn(tmp_path / "plots" / "bundles-by-replicas.svg")


@pytest.mark.parametrize(("p99", "told"), [(15.0, "met"), (15.1, "NOT MET")])
def test_a_thousand_times_the_users_may_take_half_as_long_again(p99: float, told: str) -> None:
    rows = [
        BundleRow("sqlite", users, 1, 100.0, 5.0, taken, 10, {}, 0.0)
        for users, taken in ((1000, 10.0), (1_000_000, p99))
    ]
    (verdict,) = verdicts(rows)
    assert verdict.startswith(f"{told}: SQLite, replicas 1")


def test_a_plot_is_small_and_the_same_for_the_same_numbers() -> None:
    def chart() -> Chart:
        series = {"a < b": [1.5, None, 300.0], "c": [2.0, 3.0, 4.0]}
        return Chart("t", "x", "y", ["2", "50", "500"], series, logarithmic=True)

    text = draw(chart())
    assert text == draw(chart())
    assert len(text) < 60_000
    root = ET.fromstring(text)
    shown = "".join(root.itertext())
    assert "a < b" in shown
    assert "1,000" in shown
