"""The SQLite file of waiting mail: written in batches by one thread, its index read at start."""

import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from broker.errors import DataDirectoryError

FILE_NAME: Final = "waiting_mail.sqlite3"
SCHEMA_VERSION: Final = 2

_PRIVATE_FILE: Final = 0o600
_PRIVATE_FOLDER: Final = 0o700
_TABLE: Final = """
CREATE TABLE mail (
    number INTEGER PRIMARY KEY,
    topic TEXT NOT NULL,
    payload BLOB NOT NULL,
    qos INTEGER NOT NULL,
    stored_at INTEGER NOT NULL
)
"""
_FROM_VERSION_1: Final = (
    "INSERT INTO mail SELECT rowid, topic, payload, qos, stored_at FROM waiting_mail",
    "DROP TABLE waiting_mail",
)
_KEEP_NEWEST: Final = """
DELETE FROM mail WHERE number NOT IN (SELECT max(number) FROM mail GROUP BY topic)
"""


class StoredMessage(NamedTuple):
    """One row: its number, topic, payload, QoS, and Unix seconds of its arrival."""

    number: int
    topic: str
    payload: bytes
    qos: int
    stored_at: int


class StoredPlace(NamedTuple):
    """One row without its payload."""

    number: int
    topic: str
    size: int
    qos: int
    stored_at: int


class Database(Protocol):
    """What is used of ``sqlite3.Connection``; failures are ``sqlite3.Error``."""

    @property
    def in_transaction(self) -> bool:
        """Tell whether a transaction was begun and not ended."""
        ...

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Any:  # noqa: ANN401
        """Run one statement; return its rows."""
        ...

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> Any:  # noqa: ANN401
        """Run one statement for each of ``rows``."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


def connect(path: Path) -> Database:
    """Open the file, which one thread may use."""
    return sqlite3.connect(path, isolation_level=None, timeout=0)


class MailFile:
    """An open file of waiting mail, locked against every other process.

    All methods run in one and the same thread. A transaction has ended on the disk, synced,
    before ``write`` returns.
    """

    def __init__(self, database: Database) -> None:
        """Use ``MailFile.open`` instead."""
        self._database = database

    @classmethod
    def open(cls, folder: Path, connect: Callable[[Path], Database] = connect) -> "MailFile":
        """Open or create the file in ``folder``, which is made if it is missing.

        Raises:
            DataDirectoryError: The folder or file cannot be used; what was there is unchanged.
        """
        try:
            folder.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
            path = folder / FILE_NAME
            _make_file(path)
            database = connect(path)
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

    def load(self, oldest: int) -> list[StoredPlace]:
        """Return all mail in order of arrival, after deleting what arrived before ``oldest``.

        Raises:
            DataDirectoryError: The file is damaged or the disk is full; it was left as it was.
        """
        try:
            self._database.execute("DELETE FROM mail WHERE stored_at < ?", (oldest,))
            rows = self._database.execute(
                "SELECT number, topic, length(payload), qos, stored_at FROM mail ORDER BY number"
            )
            return [StoredPlace(*row) for row in rows]
        except sqlite3.Error as error:
            raise _unusable(error) from error

    def write(self, kept: Iterable[StoredMessage], dropped: Iterable[int]) -> None:
        """Store the messages and delete the rows with the numbers, all in one transaction.

        Raises:
            sqlite3.Error: The disk is full or failing; the file has none of the changes.
        """
        self._database.execute("BEGIN IMMEDIATE")
        try:
            self._database.executemany(
                "DELETE FROM mail WHERE number = ?", [(number,) for number in dropped]
            )
            self._database.executemany("REPLACE INTO mail VALUES (?, ?, ?, ?, ?)", kept)
            self._database.execute("COMMIT")
        except sqlite3.Error:
            if self._database.in_transaction:
                with suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
            raise

    def payloads(self, numbers: Sequence[int]) -> dict[int, bytes]:
        """Return the payloads of those rows that are there.

        Raises:
            sqlite3.Error: The file cannot be read.
        """
        marks = ",".join("?" * len(numbers))
        rows = self._database.execute(
            f"SELECT number, payload FROM mail WHERE number IN ({marks})",  # noqa: S608 - marks only
            tuple(numbers),
        )
        return {number: bytes(payload) for number, payload in rows}

    def page(self, after: int, count: int) -> list[StoredPlace]:
        """Return the first ``count`` messages numbered above ``after``; raises sqlite3.Error."""
        rows = self._database.execute(
            "SELECT number, topic, length(payload), qos, stored_at FROM mail"
            " WHERE number > ? ORDER BY number LIMIT ?",
            (after, count),
        )
        return [StoredPlace(*row) for row in rows]

    def close(self) -> None:
        """Close the file; what was written stays."""
        self._database.close()


def _prepare(database: Database) -> None:
    (version,) = next(iter(database.execute("PRAGMA user_version")))
    if version > SCHEMA_VERSION:
        raise DataDirectoryError(
            f"the file {FILE_NAME} was written by a newer version of this program; it was left as"
            " it was: install that version"
        )
    # Whoever reads a row of these pragmas has run them; the connection of a test is lazy.
    for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
        list(database.execute(f"PRAGMA {pragma}"))
    database.execute("BEGIN EXCLUSIVE")
    if version < SCHEMA_VERSION:
        database.execute(_TABLE)
        for statement in _FROM_VERSION_1 if version else ():
            database.execute(statement)
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    database.execute(_KEEP_NEWEST)
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
