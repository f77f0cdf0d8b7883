"""MQTT logins as a broker beside the database of a server reads them."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

from sqlalchemy import Connection, select

from keydir.errors import DirectoryStoreError
from keydir.stores.credentials import REVISION, CredentialReader
from keydir.stores.database import sqlite_file
from keydir.stores.schema import CREDENTIALS, SETTINGS
from keydir.stores.server import PostgresServer

ANSWER_SECONDS: Final = 5.0
"""How long a broker waits for the database before it refuses a login."""

Result = TypeVar("Result")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class ServerCredentials:
    """Logins in a PostgreSQL database; what ``CredentialReader`` is for a file."""

    def __init__(self, url: str, *, clock: Callable[[], int] = _now_ms) -> None:
        """Connect to the database, which the directory has made before.

        Args:
            url: ``postgresql://user@host:port/database``.
            clock: Milliseconds since 1970.

        Raises:
            DirectoryStoreError: It cannot be reached, or is no directory's database.
        """
        self._clock = clock
        self._server = PostgresServer(url)
        try:
            self.revision()
        except BaseException:
            self.close()
            raise

    def secret_hash(self, login: str) -> bytes | None:
        """Return the SHA-256 of a login's password; None: no such login, or it has expired.

        Raises:
            DirectoryStoreError: The database could not be read.
        """
        wanted = select(CREDENTIALS.c.sha256, CREDENTIALS.c.expires_at)
        found = self._read(
            lambda connection: connection.execute(
                wanted.where(CREDENTIALS.c.login == login)
            ).first()
        )
        if found is None or (found.expires_at is not None and found.expires_at <= self._clock()):
            return None
        secret_hash: bytes = found.sha256
        return secret_hash

    def revision(self) -> int:
        """Return a number that grows with every change of any login, by any process.

        Raises:
            DirectoryStoreError: The database could not be read.
        """
        wanted = select(SETTINGS.c.value).where(SETTINGS.c.name == REVISION)
        return int(self._read(lambda connection: connection.execute(wanted).scalar()) or 0)

    def close(self) -> None:
        """Close the connections."""
        self._server.close()

    def _read(self, query: Callable[[Connection], Result]) -> Result:
        def work() -> Result:
            with self._server.begin() as connection:
                return query(connection)

        try:
            return self._server.submit(work).result(ANSWER_SECONDS)
        except TimeoutError as error:
            raise DirectoryStoreError(
                "the directory's logins could not be read in time; nothing was changed; try again"
            ) from error


def open_credentials(
    database: str, *, clock: Callable[[], int] = _now_ms
) -> CredentialReader | ServerCredentials:
    """Open the logins of a directory's database, whichever it is.

    Args:
        database: ``sqlite:///FILE`` or ``postgresql://user@host:port/database``.
        clock: Milliseconds since 1970.

    Raises:
        DatabaseUrlError: It is neither a file nor on a PostgreSQL server.
        DirectoryStoreError: It cannot be read, or is no directory's database.
    """
    path = sqlite_file(database)
    if path is None:
        return ServerCredentials(database, clock=clock)
    return CredentialReader(path, clock=clock)
