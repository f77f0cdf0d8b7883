"""Copying a directory's file: one moment of it, whole, for its owner alone, or nothing."""

import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from keydir.backup import back_up
from keydir.config import DirectorySettings
from keydir.errors import DataDirectoryError, DirectoryBackupError, DirectoryStoreError
from keydir.stores.database import DatabaseUrlError
from tests.unit.keydir.keydir_parties import DirectoryParty

COPIES = 20


def put_pair(party: DirectoryParty, number: int) -> None:
    with party.store.transaction() as transaction:
        for side in ("left", "right"):
            transaction.logins.put(f"{side}-{number}", bytes([7]) * 32, None)


def logins(file: Path, side: str) -> set[str]:
    connection = sqlite3.connect(f"{file.as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        rows = connection.execute(
            "SELECT substr(login, instr(login, '-')) FROM credentials WHERE login LIKE ?",
            (f"{side}-%",),
        )
        return {login for (login,) in rows}
    finally:
        connection.close()


def test_a_copy_that_is_made_amid_writes_holds_whole_transactions(tmp_path: Path) -> None:
    party = DirectoryParty(tmp_path / "data")
    stopped, copied = threading.Event(), []

    def write() -> None:
        number = 0
        while not stopped.is_set():
            put_pair(party, number)
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(COPIES):
            file = tmp_path / f"copy-{number}.db"
            assert back_up(party.settings, file) == file.stat().st_size
            copied.append(logins(file, "left"))
            assert copied[-1] == logins(file, "right")
    finally:
        stopped.set()
        writer.join()
        party.close()
    assert copied[-1] > copied[0]


def test_a_copy_is_one_file_for_its_owner_that_a_directory_starts_on(tmp_path: Path) -> None:
    party = DirectoryParty(tmp_path / "data")
    party.enrolled("dora", "doctor")
    file = tmp_path / "copy" / "directory.db"
    file.parent.mkdir()
    back_up(party.settings, file)
    party.close()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file]
    again = DirectoryParty(tmp_path / "data", database=f"sqlite:///{file}")
    with again.store.transaction() as transaction:
        assert transaction.accounts.roles_in_use() == {"doctor"}
    again.close()


def test_an_earlier_copy_is_never_replaced(tmp_path: Path) -> None:
    party = DirectoryParty(tmp_path / "data")
    party.close()
    file = tmp_path / "copy.db"
    file.write_text("earlier")
    with pytest.raises(DirectoryBackupError, match="exists; it was not changed"):
        back_up(party.settings, file)
    assert file.read_text() == "earlier"


def test_a_damaged_database_is_not_taken_for_a_copy(tmp_path: Path) -> None:
    party = DirectoryParty(tmp_path / "data")
    party.close()
    data = bytearray(party.settings.database_path.read_bytes())
    data[4096:8192] = bytes(4096)
    party.settings.database_path.write_bytes(data)
    with pytest.raises((DirectoryBackupError, DirectoryStoreError)):
        back_up(party.settings, tmp_path / "copy.db")
    assert list(tmp_path.iterdir()) == [party.settings.data_dir]


def test_what_cannot_be_copied_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    on_server = "postgresql://user@127.0.0.1/directory"
    settings = DirectorySettings(data_dir=tmp_path, database_url=on_server)
    with pytest.raises(DatabaseUrlError, match="use pg_dump"):
        back_up(settings, tmp_path / "copy.db")
    with pytest.raises(DataDirectoryError, match="nothing was written"):
        back_up(DirectorySettings(data_dir=tmp_path), tmp_path / "copy.db")
    party = DirectoryParty(tmp_path / "data")
    party.close()
    with pytest.raises(DirectoryBackupError, match="No such file"):
        back_up(party.settings, tmp_path / "missing" / "copy.db")
    assert list(tmp_path.iterdir()) == [party.settings.data_dir]
