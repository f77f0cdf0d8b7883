"""Open the database of a directory, whichever it is."""

from keydir.ports import DirectoryStore
from keydir.stores.database import sqlite_file
from keydir.stores.sql import SqlDirectoryStore


def open_store(database: str) -> DirectoryStore:
    """Open a database and bring its schema up to date.

    Args:
        database: ``sqlite:///FILE`` or ``postgresql://user@host:port/database``.

    Raises:
        DatabaseUrlError: It is neither; nothing was opened.
        NewerDirectoryError: A newer program wrote it; nothing was changed.
        DirectoryStoreError: It cannot be opened, or is another program's database.
    """
    path = sqlite_file(database)
    if path is not None:
        return SqlDirectoryStore(path)
    from keydir.stores.postgres import PostgresDirectoryStore

    return PostgresDirectoryStore(database)
