"""The directory's store on SQLite through SQLAlchemy."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry, StaticPool

from keydir.errors import DirectoryStoreError
from keydir.stores.migrate import migrate
from keydir.stores.transaction import SqlTransaction, flushed

Result = TypeVar("Result")

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


class SqlDirectoryStore:
    """All state of one directory in one SQLite file, see ``DirectoryStore``.

    Several processes may have it open: the journal is a write-ahead log, and a writer waits up
    to ``BUSY_TIMEOUT_MS`` for another. A commit has reached the disk when it returns.
    """

    concurrency: Final = 1
    """Transactions that make sense at one time, see ``DirectoryStore``."""

    def __init__(self, path: Path) -> None:
        """Open the file, made with mode 0600 where there is none, and migrate it.

        Raises:
            NewerDirectoryError: A newer program wrote it; nothing was changed.
            DirectoryStoreError: It cannot be opened or is no directory's database.
        """
        self._path = path
        self._thread = ThreadPoolExecutor(1, "keydir-store")
        with named_errors(self._path):
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
        with (
            named_errors(self._path),
            self._engine.begin() as connection,
            flushed(connection) as one,
        ):
            yield one

    def submit(self, work: Callable[[], Result]) -> Future[Result]:
        """Run work in the store's one thread, see ``DirectoryStore``."""
        return self._thread.submit(work)

    def close(self) -> None:
        """Close the database; what was submitted has ended then."""
        self._thread.shutdown(cancel_futures=True)
        self._engine.dispose()


@contextmanager
def writing_alone(path: Path) -> Iterator[Connection]:
    """Yield a transaction on a file that exists; nobody else writes, and nothing is kept.

    Raises:
        DirectoryStoreError: The file cannot be used, or another process holds it.
    """
    with named_errors(path):
        engine = _engine(path)
        try:
            with engine.connect() as connection:
                yield connection
                connection.rollback()
        finally:
            engine.dispose()


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Raise what SQLite reports as a DirectoryStoreError that says what to do."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        reason = next(
            (shown for found, shown in _REASONS if found in str(cause)),
            "it could not be read or written",
        )
        raise DirectoryStoreError(
            f"the directory's database {path.name}: {reason}; nothing was changed"
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
