"""The databases that a directory's store can be on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from keydir.ports import DirectoryStore
from keydir.stores.opening import open_store
from tests.contract.keydir_stores import add_account, transaction
from tests.postgres import Postgres

BOTH = ("sqlite", "postgresql")


@pytest.fixture(params=BOTH)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database with the newest schema, or of a file not yet made."""
    return _database(request, tmp_path, "migrated")


@pytest.fixture(params=BOTH)
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database without tables."""
    return _database(request, tmp_path, "database")


def _database(request: pytest.FixtureRequest, folder: Path, make: str) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{folder / 'directory.db'}"
    server: Postgres = request.getfixturevalue("postgres")
    address: str = getattr(server, make)()
    return address


@pytest.fixture
def store(database: str) -> Iterator[DirectoryStore]:
    """The directory's store on either database, with one account."""
    opened = open_store(database)
    with transaction(opened) as began:
        add_account(began)
    yield opened
    opened.close()
