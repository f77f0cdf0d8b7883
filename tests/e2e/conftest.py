"""Served systems that tests share; each test brings its own users."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.e2e.clinic import Clinic
from tests.e2e.messengers import Party


@pytest.fixture(scope="session")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    """A running server of doctors and patients; it stays up."""
    with Clinic(tmp_path_factory.mktemp("clinic")) as running:
        yield running


@pytest.fixture(scope="session")
def open_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    """A running server where strangers may write."""
    with Clinic(tmp_path_factory.mktemp("open"), "open") as running:
        yield running


@pytest.fixture
async def party(clinic: Clinic, tmp_path: Path) -> AsyncIterator[Party]:
    async with AsyncExitStack() as stack:
        yield Party(clinic, tmp_path, stack)


@pytest.fixture
async def open_party(open_house: Clinic, tmp_path: Path) -> AsyncIterator[Party]:
    async with AsyncExitStack() as stack:
        yield Party(open_house, tmp_path, stack)
