"""``make bench-peers`` without a network: our rows, the table, what is missing; and sizes."""

import sys
from pathlib import Path

import pytest

from tests.bench.peers.__main__ import measured
from tests.bench.peers.scratch import LIBSIGNAL, Measurer, UnavailableError, ours, with_npm
from tests.bench.peers.table import OURS, SIZES, TIMES, summed_up
from tests.bench.sizes import memory_of, stored_records

PRINTS_ROWS = 'import json; print(json.dumps({"versions": {"x": "1"}, "rows": {"encrypt": 2.0}}))'


def test_our_own_process_prints_every_row() -> None:
    rows = ours().run((4, 1, 3))["rows"]
    assert set(rows) == {"exchange", *TIMES, *SIZES}
    assert min(rows.values()) > 0


def test_the_table_has_every_row_the_ratio_to_ours_and_where_ours_is_slower() -> None:
    own = dict.fromkeys([*TIMES, *SIZES, "exchange"], 10.0)
    other = {**dict.fromkeys([*TIMES, *SIZES], 25.0), "jump": 5.0, "late": None, "late_refused": 9}
    runs = {
        OURS: [{"versions": {"python": "3"}, "rows": own}],
        "other": [{"versions": {"other": "1.2"}, "rows": other}] * 2,
    }
    shown = summed_up(runs, {"third": "npm is not on this machine"})
    for title in (*TIMES.values(), *SIZES.values()):
        assert f"| {title} |" in shown
    assert "25.0 (2.50)" in shown
    assert "| refused |" in shown
    assert "other: other 1.2" in shown
    assert "other refused 9 of the late messages" in shown
    assert "Not measured: third: npm is not on this machine" in shown
    assert f"RatchetMQ beside other: slower in: {TIMES['jump']}." in shown


def test_one_that_does_not_run_is_left_out_and_the_others_go_on(tmp_path: Path) -> None:
    good = Measurer("good", (sys.executable, "-c", PRINTS_ROWS), tmp_path)
    bad = Measurer("bad", (sys.executable, "-c", "import no_such_module"), tmp_path)
    missing: dict[str, str] = {}
    results = measured([good, bad], missing, (1, 1, 1), rounds=2)
    assert [len(runs) for runs in results.values()] == [2]
    assert "no_such_module" in missing["bad"]


def test_without_node_libsignal_is_said_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnavailableError, match="node is not on this machine"):
        with_npm("libsignal", LIBSIGNAL, "others_libsignal.mjs", tmp_path)


def test_a_thousand_open_sessions_take_less_than_8_mb() -> None:
    assert memory_of(1_000) < 8_000_000


def test_a_conversation_meets_every_size_that_a_session_takes() -> None:
    sizes = {len(one) for one in stored_records()}
    assert min(sizes) < 600
    assert max(sizes) > 1_500
