"""The directory's store on SQLite through SQLAlchemy."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry, StaticPool

from keydir.errors import DirectoryStoreError
from keydir.stores.accounts import SqlAccounts
from keydir.stores.counters import SqlCounters
from keydir.stores.invitations import SqlAnswers, SqlInvitations, SqlLogins, SqlSettings
from keydir.stores.links import SqlLinks
from keydir.stores.migrate import migrate
from keydir.stores.prekeys import SqlPrekeys

BUSY_TIMEOUT_MS: Final = 5000
"""How long one process waits for another's transaction, which takes milliseconds."""

_REASONS: Final = (
    ("disk is full", "the disk is full; make room and try again"),
    ("not a database", "the file is not a directory's database; restore it or name another one"),
    ("malformed", "the file is damaged; restore it from a backup"),
    ("readonly", "the file cannot be written; check its owner and mode"),
    ("unable to open", "the file cannot be opened; check the folder, its owner and mode"),
    ("locked", "another process holds it; try again"),
)


@dataclass(frozen=True)
class SqlTransaction:
    """One open transaction, see ``Transaction``."""

    connection: Connection

    @cached_property
    def accounts(self) -> SqlAccounts:
        """Users and devices."""
        return SqlAccounts(self.connection)

    @cached_property
    def prekeys(self) -> SqlPrekeys:
        """Published prekeys."""
        return SqlPrekeys(self.connection)

    @cached_property
    def counters(self) -> SqlCounters:
        """Reports of stores."""
        return SqlCounters(self.connection)

    @cached_property
    def answers(self) -> SqlAnswers:
        """Kept replies."""
        return SqlAnswers(self.connection)

    @cached_property
    def invitations(self) -> SqlInvitations:
        """Invitations."""
        return SqlInvitations(self.connection)

    @cached_property
    def links(self) -> SqlLinks:
        """Links of further devices."""
        return SqlLinks(self.connection)

    @cached_property
    def logins(self) -> SqlLogins:
        """MQTT logins."""
        return SqlLogins(self.connection)

    @cached_property
    def settings(self) -> SqlSettings:
        """Named texts."""
        return SqlSettings(self.connection)


class SqlDirectoryStore:
    """All state of one directory in one SQLite file, see ``DirectoryStore``.

    Several processes may have it open: the journal is a write-ahead log, and a writer waits up
    to ``BUSY_TIMEOUT_MS`` for another. A commit has reached the disk when it returns.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, made with mode 0600 where there is none, and migrate it.

        Raises:
            NewerDirectoryError: A newer program wrote it; nothing was changed.
            DirectoryStoreError: It cannot be opened or is no directory's database.
        """
        self._path = path
        with self._named_errors():
            _make_file(path)
            self._engine = _engine(path)
            try:
                with self._engine.begin() as connection:
                    migrate(connection)
            except BaseException:
                self._engine.dispose()
                raise

    @contextmanager
    def transaction(self) -> Iterator[SqlTransaction]:
        """Open the one writing transaction, see ``DirectoryStore``."""
        with self._named_errors(), self._engine.begin() as connection:
            yield SqlTransaction(connection)

    def close(self) -> None:
        """Close the database."""
        self._engine.dispose()

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, sqlite3.Error) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            reason = next(
                (shown for found, shown in _REASONS if found in str(cause)),
                "it could not be read or written",
            )
            raise DirectoryStoreError(
                f"the directory's database {self._path.name}: {reason}; nothing was changed"
            ) from error


def _make_file(path: Path) -> None:
    """Make an empty file of mode 0600 where there is none.

    One that is there is never opened here: closing any descriptor of a file drops every lock
    that this process has on it, SQLite's own too, and another process that then closes the
    database would delete the write-ahead log under us.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise DirectoryStoreError(
            f"{path}: {error.strerror}; nothing was changed; check the folder and its mode"
        ) from error


def _engine(path: Path) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=StaticPool,
        connect_args={"check_same_thread": False, "isolation_level": None},
        hide_parameters=True,
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    for pragma in (
        f"busy_timeout = {BUSY_TIMEOUT_MS}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    # The write lock comes first: a transaction that reads and then writes could else find its
    # snapshot stale and fail in the middle.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
