"""A directory in a temporary folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.keydir.keydir_parties import DirectoryParty


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[DirectoryParty]:
    party = DirectoryParty(tmp_path / "data")
    yield party
    party.close()


@pytest.fixture
def open_directory(tmp_path: Path) -> Iterator[DirectoryParty]:
    party = DirectoryParty(tmp_path / "open", "open")
    yield party
    party.close()
