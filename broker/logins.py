"""Who could log in by the directory's database: read before the broker opens a port."""

import hashlib
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from broker.errors import DataDirectoryError
from client_sdk.wire.ids import DIRECTORY_LOGIN

HASH_BYTES: Final = hashlib.sha256().digest_size
_OF_NOTHING: Final = hashlib.sha256(b"").digest()

_BUSY_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class LoginsFound:
    """What a database holds: logins that hold now, the directory's own not counted."""

    others: int = 0
    """Devices and invitations that can log in."""
    blank: int = 0
    """Rows without a name, without a hash, or with the hash of an empty password."""


def read_logins(database: Path) -> LoginsFound:
    """Return what the database holds; none where there is no database yet.

    Raises:
        DataDirectoryError: It cannot be read; it was not changed.
    """
    if not database.exists():
        return LoginsFound()
    try:
        with closing(_opened(database)) as connection:
            rows = connection.execute("SELECT login, sha256, expires_at FROM credentials")
            return _counted(list(rows))
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


def _counted(rows: list[tuple[object, object, object]]) -> LoginsFound:
    now = time.time_ns() // 1_000_000
    others = blank = 0
    for login, digest, expires_at in rows:
        if _is_blank(login, digest):
            blank += 1
        elif login != DIRECTORY_LOGIN and not (isinstance(expires_at, int) and expires_at <= now):
            others += 1
    return LoginsFound(others, blank)


def _is_blank(login: object, digest: object) -> bool:
    named = isinstance(login, str) and bool(login.strip())
    hashed = isinstance(digest, bytes) and len(digest) == HASH_BYTES
    return not named or not hashed or digest in {_OF_NOTHING, bytes(HASH_BYTES)}
