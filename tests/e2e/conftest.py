"""Served systems that tests share; each test brings its own users."""

from collections.abc import Iterator

import pytest

from tests.e2e.clinic import Clinic


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
