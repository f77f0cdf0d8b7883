"""MQTT logins as the broker reads them: one primary-key look-up, no SQL toolkit."""

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from client_sdk.wire.verifier import Verifier
from keydir.errors import DirectoryStoreError

REVISION: Final = "credentials_revision"
"""The setting that counts every change of a login."""

_BUSY_TIMEOUT_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class StoredLogin:
    """What a broker may be told of one login."""

    secret_hash: bytes = field(repr=False)
    verifier: Verifier | None = field(repr=False)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class CredentialReader:
    """A reading connection to the directory's database; sees other processes' changes at once."""

    def __init__(self, path: Path, *, clock: Callable[[], int] = _now_ms) -> None:
        """Open the database, which the directory has made before.

        Args:
            path: The database file.
            clock: Milliseconds since 1970.

        Raises:
            DirectoryStoreError: There is none, or it is no directory's database.
        """
        if not path.exists():
            raise DirectoryStoreError(
                f"no directory's database at {path}; nothing was changed; "
                "check --data, or start the directory there once"
            )
        self._clock = clock
        try:
            self._connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=ro",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                timeout=_BUSY_TIMEOUT_SECONDS,
            )
        except sqlite3.Error as error:
            raise _unreadable(path) from error
        self._seen: tuple[int, int] | None = None
        try:
            self.revision()
        except DirectoryStoreError as error:
            self._connection.close()
            raise _unreadable(path) from error

    def secret_hash(self, login: str) -> bytes | None:
        """Return the SHA-256 of a login's password; None: no such login, or it has expired.

        Raises:
            DirectoryStoreError: The database could not be read.
        """
        row = self._first("SELECT sha256, expires_at FROM credentials WHERE login = ?", login)
        if row is None:
            return None
        found, expires_at = row
        if not isinstance(found, bytes):
            return None
        if isinstance(expires_at, int) and expires_at <= self._clock():
            return None
        return found

    def logins(self) -> dict[str, StoredLogin]:
        """Return every login that has not expired.

        Raises:
            DirectoryStoreError: The database could not be read.
        """
        try:
            rows = self._connection.execute(
                "SELECT login, sha256, verifier FROM credentials"
                " WHERE expires_at IS NULL OR expires_at > ?",
                (self._clock(),),
            ).fetchall()
        except sqlite3.Error as error:
            raise _failed() from error
        return {
            login: StoredLogin(digest, None if verifier is None else Verifier(verifier))
            for login, digest, verifier in rows
        }

    def revision(self) -> int:
        """Return a number that grows with every change of any login, by any process.

        Raises:
            DirectoryStoreError: The database could not be read.
        """
        changed = self._integer("PRAGMA data_version")
        if self._seen is not None and self._seen[0] == changed:
            return self._seen[1]
        revision = self._integer(
            "SELECT coalesce(max(CAST(value AS INTEGER)), 0) FROM settings WHERE name = ?", REVISION
        )
        self._seen = (changed, revision)
        return revision

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _integer(self, statement: str, *values: str) -> int:
        row = self._first(statement, *values)
        value = None if row is None else row[0]
        return value if isinstance(value, int) else 0

    def _first(self, statement: str, *values: str) -> tuple[object, ...] | None:
        try:
            row: tuple[object, ...] | None = self._connection.execute(statement, values).fetchone()
        except sqlite3.Error as error:
            raise _failed() from error
        return row


def _failed() -> DirectoryStoreError:
    return DirectoryStoreError(
        "the directory's logins could not be read; nothing was changed; try again"
    )


def _unreadable(path: Path) -> DirectoryStoreError:
    return DirectoryStoreError(
        f"{path.name} is not a directory's database; nothing was changed; start the directory once"
    )
