"""Who could log in by the directory's database: read before the broker opens a port."""

import hashlib
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import select

from broker.errors import DataDirectoryError
from broker.generate.rights import is_directory
from keydir.prepare import DIRECTORY_ID_SETTING
from keydir.stores.database import sqlite_file
from keydir.stores.migrate import schema_version
from keydir.stores.schema import CREDENTIALS, SETTINGS

HASH_BYTES: Final = hashlib.sha256().digest_size
_OF_NOTHING: Final = hashlib.sha256(b"").digest()

_BUSY_SECONDS: Final = 5.0

_Row = tuple[object, object, object]
"""A login, the SHA-256 of its password, and when it ends in milliseconds since 1970 or None."""


@dataclass(frozen=True, slots=True)
class LoginsFound:
    """What a database holds: logins that hold now, the directory's own not counted."""

    others: int = 0
    """Devices and invitations that can log in."""
    blank: int = 0
    """Rows without a name, without a hash, or with the hash of an empty password."""
    owned: bool = False
    """Whether it belongs to a directory."""


def read_logins(database: str) -> LoginsFound:
    """Return what a directory's database holds; none where there is no database yet.

    Args:
        database: ``sqlite:///FILE`` or ``postgresql://user@host:port/database``.

    Raises:
        DataDirectoryError: The file cannot be read; it was not changed.
        DirectoryStoreError: The server does not answer, or has another program's database.
    """
    path = sqlite_file(database)
    return _on_server(database) if path is None else _in_file(path)


def _on_server(database: str) -> LoginsFound:
    from keydir.stores.server import PostgresServer  # a broker on a file does without asyncpg

    with closing(PostgresServer(database)) as server:

        def work() -> LoginsFound:
            with server.begin() as connection:
                if schema_version(connection) is None:
                    return LoginsFound()
                columns = CREDENTIALS.c
                wanted = select(columns.login, columns.sha256, columns.expires_at)
                rows = [tuple(row) for row in connection.execute(wanted)]
                owner = select(SETTINGS.c.value).where(SETTINGS.c.name == DIRECTORY_ID_SETTING)
                return _counted(rows, connection.execute(owner).first())

        return server.submit(work).result()


def _in_file(database: Path) -> LoginsFound:
    if not database.exists():
        return LoginsFound()
    try:
        with closing(_opened(database)) as connection:
            rows = connection.execute("SELECT login, sha256, expires_at FROM credentials")
            owner = "SELECT value FROM settings WHERE name = ?"
            return _counted(
                list(rows), connection.execute(owner, (DIRECTORY_ID_SETTING,)).fetchone()
            )
    except sqlite3.Error as error:
        if "no such table" in str(error):
            return LoginsFound()
        raise DataDirectoryError(
            f"the logins in {database} cannot be read ({error}); nothing was changed: check its"
            " owner and mode, or restore it from a backup"
        ) from error


def _opened(database: Path) -> sqlite3.Connection:
    """Return a connection that makes no file: those of another user would lock the server out."""
    log = database.with_name(f"{database.name}-wal")
    how = "mode=ro" if log.exists() else "mode=ro&immutable=1"
    uri = f"{database.absolute().as_uri()}?{how}"
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS)


def _counted(rows: list[_Row], owner: object) -> LoginsFound:
    now = time.time_ns() // 1_000_000
    others = blank = 0
    for login, digest, expires_at in rows:
        if _is_blank(login, digest):
            blank += 1
        elif not is_directory(str(login)) and not (
            isinstance(expires_at, int) and expires_at <= now
        ):
            others += 1
    return LoginsFound(others, blank, owner is not None)


def _is_blank(login: object, digest: object) -> bool:
    named = isinstance(login, str) and bool(login.strip())
    hashed = isinstance(digest, bytes) and len(digest) == HASH_BYTES
    return not named or not hashed or digest in {_OF_NOTHING, bytes(HASH_BYTES)}
