"""Moving a directory from its SQLite file into an empty PostgreSQL database."""

from contextlib import ExitStack
from typing import Final

from sqlalchemy import Connection, Table, func, insert, select

from keydir.config import DirectorySettings
from keydir.data import DirectoryKeys, lock_names, read_keys, running_lock
from keydir.errors import DataDirectoryError, DirectoryMoveError
from keydir.prepare import claim
from keydir.stores.database import DatabaseUrlError, sqlite_file
from keydir.stores.migrate import HEAD, migrate, schema_version
from keydir.stores.schema import METADATA
from keydir.stores.sql import writing_alone
from keydir.stores.transaction import SqlTransaction

BATCH_ROWS: Final = 1000
"""Rows that are in memory at one time; the largest is a device list of some KiB."""


def move(settings: DirectorySettings, target: str) -> dict[str, int]:
    """Copy every table in one transaction, count again, and return the rows of each table.

    Args:
        settings: The directory, whose database is a file.
        target: ``postgresql://user@host:port/database``, without tables or with empty ones.

    Raises:
        DatabaseUrlError: The one is no file, or the other on no server; nothing was changed.
        DataDirectoryError: There is no directory, or it runs; nothing was changed.
        DirectoryMoveError: The target is not empty, or not all has arrived; it is as before.
        DirectoryStoreError: A database cannot be used; the target is as before.
    """
    path = sqlite_file(settings.database)
    if path is None:
        raise DatabaseUrlError("the directory is on a server already; nothing was changed")
    if sqlite_file(target) is not None:
        raise DatabaseUrlError(
            "the target is a file; nothing was changed; use postgresql://user@host:port/database"
        )
    keys = read_keys(settings.data_dir)
    if not path.exists():
        raise DataDirectoryError(f"no directory's database at {path}; nothing was changed")
    with ExitStack() as stack:
        for replica in lock_names(settings.data_dir):
            stack.enter_context(running_lock(settings.data_dir, replica, "stop it first"))
        source = stack.enter_context(writing_alone(path))
        _check(source, keys)
        return _fill(source, target)


def _check(source: Connection, keys: DirectoryKeys) -> None:
    found = schema_version(source)
    if found != HEAD:
        raise DirectoryMoveError(
            f"the database has schema {found}, this program moves {HEAD}; nothing was changed; "
            "start the directory once with this program"
        )
    claim(SqlTransaction(source), keys)


def _fill(source: Connection, target: str) -> dict[str, int]:
    from keydir.stores.server import PostgresServer

    server = PostgresServer(target, statement_seconds=None)

    def work() -> dict[str, int]:
        with server.begin() as connection:
            migrate(connection)
            for table in METADATA.sorted_tables:
                if _count(connection, table):
                    raise DirectoryMoveError(
                        f"the target has rows in {table.name}; nothing was changed; "
                        "name an empty database"
                    )
            return {
                table.name: _copy(source, connection, table) for table in METADATA.sorted_tables
            }

    try:
        return server.submit(work).result()
    finally:
        server.close()


def _copy(source: Connection, target: Connection, table: Table) -> int:
    rows = source.execute(select(table)).mappings()
    for batch in rows.partitions(BATCH_ROWS):
        target.execute(insert(table), [dict(row) for row in batch])
    count = _count(target, table)
    if count != _count(source, table):
        raise DirectoryMoveError(f"not every row of {table.name} has arrived; nothing was changed")
    return count


def _count(connection: Connection, table: Table) -> int:
    return connection.execute(select(func.count()).select_from(table)).scalar_one()
