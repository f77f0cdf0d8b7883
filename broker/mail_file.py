"""The SQLite file of waiting mail: written in batches by one thread, read once at start."""

import os
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from broker.errors import DataDirectoryError

FILE_NAME: Final = "waiting_mail.sqlite3"
SCHEMA_VERSION: Final = 1

_PRIVATE_FILE: Final = 0o600
_PRIVATE_FOLDER: Final = 0o700
_SCHEMA: Final = """
CREATE TABLE waiting_mail (
    topic TEXT PRIMARY KEY,
    payload BLOB NOT NULL,
    qos INTEGER NOT NULL,
    stored_at INTEGER NOT NULL
)
"""


class WaitingMessage(NamedTuple):
    """One retained message: topic, payload, the QoS it came with, Unix seconds of its arrival."""

    topic: str
    payload: bytes
    qos: int
    stored_at: int


class MailFile:
    """An open file of waiting mail, locked against every other process.

    All methods run in one and the same thread.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        """Use ``MailFile.open`` instead."""
        self._database = database

    @classmethod
    def open(cls, folder: Path) -> "MailFile":
        """Open or create the file in ``folder``, which is made if it is missing.

        Raises:
            DataDirectoryError: The folder or file cannot be used; what was there is unchanged.
        """
        try:
            folder.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
            path = folder / FILE_NAME
            _make_file(path)
            database = sqlite3.connect(path, isolation_level=None, timeout=0)
        except (OSError, sqlite3.Error) as error:
            raise DataDirectoryError(
                f"cannot write to the data directory ({_reason(error)}); nothing was started:"
                " choose another data directory or make this one writable"
            ) from error
        try:
            _prepare(database)
        except sqlite3.Error as error:
            database.close()
            raise _unusable(error) from error
        except DataDirectoryError:
            database.close()
            raise
        return cls(database)

    def load(self, oldest: int) -> list[WaitingMessage]:
        """Return all mail in order of arrival, after deleting what arrived before ``oldest``.

        Raises:
            DataDirectoryError: The file is damaged or the disk is full; it was left as it was.
        """
        try:
            self._database.execute("DELETE FROM waiting_mail WHERE stored_at < ?", (oldest,))
            rows = self._database.execute(
                "SELECT topic, payload, qos, stored_at FROM waiting_mail ORDER BY rowid"
            )
            return [WaitingMessage(*row) for row in rows]
        except sqlite3.Error as error:
            raise _unusable(error) from error

    def write(self, changes: Mapping[str, WaitingMessage | None]) -> None:
        """Store or, for None, delete the message of each topic, all in one transaction.

        Raises:
            sqlite3.Error: The disk is full or failing; the file has none of the changes.
        """
        kept = [message for message in changes.values() if message is not None]
        cleared = [(topic,) for topic, message in changes.items() if message is None]
        self._database.execute("BEGIN IMMEDIATE")
        try:
            self._database.executemany("DELETE FROM waiting_mail WHERE topic = ?", cleared)
            self._database.executemany("REPLACE INTO waiting_mail VALUES (?, ?, ?, ?)", kept)
            self._database.execute("COMMIT")
        except sqlite3.Error:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Close the file; what was written stays."""
        self._database.close()


def _prepare(database: sqlite3.Connection) -> None:
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise DataDirectoryError(
            f"the file {FILE_NAME} was written by a newer version of this program; it was left as"
            " it was: install that version"
        )
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.execute("BEGIN EXCLUSIVE")
    if version == 0:
        database.execute(_SCHEMA)
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    database.execute("COMMIT")


def _unusable(error: sqlite3.Error) -> DataDirectoryError:
    return DataDirectoryError(
        f"cannot use the file {FILE_NAME} ({error}); it was left as it was: end the other server"
        " that uses this data directory, or move the file away"
    )


def _reason(error: OSError | sqlite3.Error) -> str:
    return error.strerror or "unknown" if isinstance(error, OSError) else str(error)


def _make_file(path: Path) -> None:
    """Make an empty private file where there is none.

    One that is there is not opened here: closing a descriptor drops the process's locks on it.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, _PRIVATE_FILE))
