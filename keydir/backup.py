"""A copy of a directory's SQLite file, made while the directory works."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from keydir.config import DirectorySettings
from keydir.errors import DataDirectoryError, DirectoryBackupError
from keydir.stores.database import DatabaseUrlError, sqlite_file
from keydir.stores.sql import named_errors


def back_up(settings: DirectorySettings, file: Path) -> int:
    """Copy the database as it is at one moment, check the copy and return its bytes.

    Whoever writes meanwhile is not held up: SQLite's backup reads a snapshot.

    Args:
        settings: The directory, whose database is a file; it may run.
        file: The copy, of mode 0600; it appears whole or not at all.

    Raises:
        DatabaseUrlError: The database is on a server; nothing was written.
        DataDirectoryError: There is no database; nothing was written.
        DirectoryBackupError: ``file`` exists, cannot be written or is not whole; none was left.
        DirectoryStoreError: The database cannot be read; no copy was left.
    """
    path = sqlite_file(settings.database)
    if path is None:
        raise DatabaseUrlError("the directory is on a server; nothing was written; use pg_dump")
    if not path.exists():
        raise DataDirectoryError(f"no directory's database at {path}; nothing was written")
    if file.exists():
        raise DirectoryBackupError(f"{file} exists; it was not changed; name another one")
    temporary = file.with_name(f".{file.name}.new")
    try:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        _copy(path, temporary)
        _sync(temporary)
        temporary.replace(file)
        _sync(file.parent)
    except OSError as error:
        raise DirectoryBackupError(f"{file}: {error.strerror}; no copy was made") from error
    finally:
        temporary.unlink(missing_ok=True)
    return file.stat().st_size


def _copy(path: Path, target: Path) -> None:
    source = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    with named_errors(path), closing(source), closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # one file that needs no other beside it
        if copy.execute("PRAGMA integrity_check").fetchone() != ("ok",):
            raise DirectoryBackupError(
                f"{path} is damaged; no copy was made; restore an earlier one"
            )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
