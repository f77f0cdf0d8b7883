"""What the directory's store promises of its SQLite file."""

import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from keydir.errors import DirectoryStoreError, NewerDirectoryError
from keydir.records import PrekeyKind
from keydir.stores import CredentialReader
from keydir.stores.sql import SqlDirectoryStore
from tests.contract.keydir_stores import ADDRESS, add_account, pool

PUT_LOGIN = """
import sys
from pathlib import Path
from keydir.stores.sql import SqlDirectoryStore

store = SqlDirectoryStore(Path(sys.argv[1]))
with store.transaction() as transaction:
    transaction.logins.put(sys.argv[2], b"h" * 32, None)
store.close()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "directory.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqlDirectoryStore]:
    opened = SqlDirectoryStore(path)
    with opened.transaction() as transaction:
        add_account(transaction)
    yield opened
    opened.close()


def fill(store: SqlDirectoryStore, count: int) -> None:
    with store.transaction() as transaction:
        transaction.prekeys.add_one_time(ADDRESS, PrekeyKind.ONE_TIME, pool(1, count), 10_000)


def test_a_reader_follows_another_process_after_a_store_was_opened_beside_it(
    store: SqlDirectoryStore, path: Path
) -> None:
    fill(store, 1)
    store.close()
    reader = CredentialReader(path)
    SqlDirectoryStore(path).close()
    for login in ("one", "two"):
        subprocess.run([sys.executable, "-c", PUT_LOGIN, str(path), login], check=True, timeout=60)
        assert reader.secret_hash(login) == b"h" * 32
    reader.close()


def test_a_reader_cannot_write_and_refuses_what_is_no_directory(
    store: SqlDirectoryStore, path: Path, tmp_path: Path
) -> None:
    reader = CredentialReader(path)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._connection.execute("DELETE FROM credentials")
    reader.close()
    junk = tmp_path / "junk.db"
    junk.write_bytes(b"junk" * 500)
    for wrong in (tmp_path / "none.db", junk):
        with pytest.raises(DirectoryStoreError, match="nothing was changed"):
            CredentialReader(wrong)


def test_the_file_is_for_its_owner_only_and_survives_reopening(path: Path) -> None:
    opened = SqlDirectoryStore(path)
    with opened.transaction() as transaction:
        transaction.settings.put("name", "value")
        modes = {stat.S_IMODE(one.stat().st_mode) for one in path.parent.glob("directory.db*")}
        assert modes == {0o600}
    opened.close()
    again = SqlDirectoryStore(path)
    with again.transaction() as transaction:
        assert transaction.settings.get("name") == "value"
        connection = transaction.connection
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    again.close()


def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    SqlDirectoryStore(path).close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    with pytest.raises(NewerDirectoryError, match="9999"):
        SqlDirectoryStore(path)


@pytest.mark.parametrize("content", [b"junk" * 500, b"SQLite format 3\x00" + b"\x00" * 500])
def test_a_junk_file_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(DirectoryStoreError, match="nothing was changed") as caught:
        SqlDirectoryStore(path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


def test_another_programs_database_is_refused(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE mine (x)")
    connection.commit()
    connection.close()
    with pytest.raises(DirectoryStoreError, match="another program"):
        SqlDirectoryStore(path)


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(DirectoryStoreError, match="No such file"):
        SqlDirectoryStore(tmp_path / "none" / "directory.db")


def test_a_full_disk_is_named_and_nothing_is_kept(store: SqlDirectoryStore) -> None:
    with store.transaction() as transaction:
        transaction.connection.exec_driver_sql("PRAGMA max_page_count = 1")
    with pytest.raises(DirectoryStoreError, match="disk is full"):
        fill(store, 2000)
    with store.transaction() as transaction:
        assert transaction.prekeys.counts(ADDRESS) == (0, 0)
