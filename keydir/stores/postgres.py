"""The directory's store on PostgreSQL: the statements of the SQLite store, many at one time."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Final, TypeVar

from keydir.stores.migrate import migrate
from keydir.stores.server import CONNECTIONS, PostgresServer
from keydir.stores.transaction import SqlTransaction, flushed

Result = TypeVar("Result")


class PostgresDirectoryStore:
    """All state of one directory in one PostgreSQL database, see ``DirectoryStore``.

    Many processes on many machines may use it.
    """

    concurrency: Final = CONNECTIONS
    """Transactions that make sense at one time, see ``DirectoryStore``."""

    def __init__(self, url: str) -> None:
        """Connect and bring the schema up to date.

        Args:
            url: ``postgresql://user@host:port/database``, with libpq's options after ``?``.

        Raises:
            NewerDirectoryError: A newer program wrote it; nothing was changed.
            DirectoryStoreError: It cannot be reached, or is another program's database.
        """
        _bring_up_to_date(url)
        self._server = PostgresServer(url)

    @contextmanager
    def transaction(self) -> Iterator[SqlTransaction]:
        """Open a transaction; only inside ``submit``, see ``DirectoryStore``."""
        with self._server.begin() as connection, flushed(connection) as transaction:
            yield transaction

    def submit(self, work: Callable[[], Result]) -> Future[Result]:
        """Run work as a greenlet of the store's event loop, see ``DirectoryStore``."""
        return self._server.submit(work)

    def close(self) -> None:
        """End what is under way, and every connection."""
        self._server.close()


def _bring_up_to_date(url: str) -> None:
    server = PostgresServer(url, statement_seconds=None)

    def work() -> None:
        with server.begin() as connection:
            migrate(connection)

    try:
        server.submit(work).result()
    finally:
        server.close()
