"""What every test shares: hypothesis profiles, and programs that must be there."""

import os
import shutil
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.postgres import Postgres, programs, running_postgres

FULL = os.environ.get("RATCHETMQ_FULL", "") not in {"", "0"}
"""Also what takes longer than the suite has time for: see the make targets that set it."""

IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}

# Two busy cores make single examples slow: time is bounded for each test by pytest-timeout.
settings.register_profile(
    "default",
    max_examples=100 if FULL else 60,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
settings.load_profile("ci" if IN_CI else "default")

RequireProgram = Callable[[str], str]


def _require_program(name: str) -> str:
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if path is None and IN_CI:
        pytest.fail(f"{name} is not installed; under CI=true nothing is skipped", pytrace=False)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave tests that are marked ``long`` to ``make long`` and the targets of their parts."""
    left = [] if FULL else [item for item in items if item.get_closest_marker("long")]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in set(left)]


@pytest.fixture(scope="session")
def require_program() -> RequireProgram:
    """Return a program's path; a missing one fails the test in CI and skips it elsewhere."""
    return _require_program


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server; each test makes databases of its own on it."""
    if programs() is None:
        reason = "PostgreSQL's server is not installed (Debian: postgresql)"
        if IN_CI:
            pytest.fail(f"{reason}; under CI=true nothing is skipped", pytrace=False)
        pytest.skip(reason)
    with running_postgres() as server:
        yield server
