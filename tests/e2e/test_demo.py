"""`ratchetmq demo`: it ends well, in time, and leaves nothing."""

from pathlib import Path

import pytest

from tests.e2e.programs import Program, ratchetmq

DEMO_SECONDS = 30.0


def of_session(leader: int) -> list[int]:
    """Return the processes of a session that still run."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == leader and fields[0] != "Z":
                found.append(int(entry.name))
    return found


@pytest.mark.long
def test_the_demo_ends_in_time_and_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    command = ["env", f"TMPDIR={tmp_path / 'tmp'}", *ratchetmq("demo")]
    with Program(command, new_group=True) as demo:
        ended = demo.wait(2 * DEMO_SECONDS)
    assert ended.code == 0, ended.err
    assert "Traceback" not in ended.err + ended.out
    assert of_session(demo.pid) == []
    assert list((tmp_path / "tmp").iterdir()) == []
