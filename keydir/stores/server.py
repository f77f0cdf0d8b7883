"""One PostgreSQL database: asyncpg through SQLAlchemy, on an event loop of its own."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Final, TypeVar

import asyncpg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util import greenlet_spawn

from keydir.errors import DirectoryBusyError, DirectoryStoreError
from keydir.stores.database import shown_url

Result = TypeVar("Result")

CONNECTIONS: Final = 8
"""Connections of one replica: more transactions at once only wait for the same two disks."""

EXTRA_CONNECTIONS: Final = 2
"""For the sweep and for the sign of life, which do not wait behind requests."""

MAX_ATTEMPTS: Final = 5
"""How often a step is begun that another transaction, or a server that restarted, broke off."""

CONNECT_SECONDS: Final = 5.0
STATEMENT_SECONDS: Final = 30.0
"""A statement of a request takes milliseconds; what takes so long does not come back."""

IDLE_MS: Final = 5000
"""A transaction whose process hangs is ended by the server after this; its locks are free then."""

_BROKEN_OFF: Final = frozenset({"40001", "40P01", "23505"})
"""Serialisation failure, deadlock, and a row that another transaction added first."""

_REASONS: Final = (
    ("28", "it refused the login; check user and password"),
    ("3D", "there is no database of this name; create it first"),
    ("42501", "the login may not do this; make it the owner of the database"),
    ("53100", "its disk is full; make room and try again"),
    ("53300", "it has no connection left; raise max_connections or run fewer replicas"),
    ("57P", "it is starting or ending; try again"),
    ("25006", "it is a read-only standby; name the primary"),
)


class PostgresServer:
    """Connections to one database of a server; steps run as greenlets of one event loop.

    So the statements are those of the SQLite store, and several transactions are under way at
    once. A commit is on the server's disk when it returns.
    """

    def __init__(self, url: str, *, statement_seconds: float | None = STATEMENT_SECONDS) -> None:
        """Prepare; a connection is opened when it is needed.

        Args:
            url: ``postgresql://user@host:port/database``, with libpq's options after ``?``.
            statement_seconds: How long one statement may take; None for work on whole tables.
        """
        self._shown = shown_url(url)
        self._loop = asyncio.new_event_loop()
        self._engine = _engine(url, statement_seconds)
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="keydir-store", daemon=True
        )
        self._thread.start()

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Open a transaction inside ``submit``; committed when left without an error.

        Raises:
            DirectoryBusyError: Another transaction broke it off; nothing of it was kept.
            DirectoryStoreError: The database failed; nothing of it was kept.
        """
        with self._named_errors(), self._engine.sync_engine.begin() as connection:
            yield connection

    def submit(self, work: Callable[[], Result]) -> Future[Result]:
        """Run work that opens transactions; it is begun again where another broke it off.

        Raises:
            DirectoryStoreError: It was closed.
        """
        if self._loop.is_closed():
            raise DirectoryStoreError(f"{self._shown} was closed; nothing was changed")
        return asyncio.run_coroutine_threadsafe(self._perform(work), self._loop)

    def close(self) -> None:
        """End what is under way, and every connection."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _perform(self, work: Callable[[], Result]) -> Result:
        for _ in range(MAX_ATTEMPTS - 1):
            try:
                return await greenlet_spawn(work)
            except DirectoryBusyError:
                continue
        try:
            return await greenlet_spawn(work)
        except DirectoryBusyError as error:
            raise DirectoryStoreError(str(error)) from error

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._engine.dispose()

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            state = _state(error)
            lost = isinstance(error, DBAPIError) and error.connection_invalidated
            if state in _BROKEN_OFF or lost:
                raise DirectoryBusyError(
                    f"the directory's database {self._shown}: a step was broken off; "
                    "nothing was changed; try again"
                ) from error
            raise DirectoryStoreError(
                f"the directory's database {self._shown}: {_reason(state, error)}; "
                "nothing was changed"
            ) from error


def _engine(url: str, statement_seconds: float | None) -> AsyncEngine:
    async def connect() -> object:
        connection: object = await asyncpg.connect(
            url,
            timeout=CONNECT_SECONDS,
            command_timeout=statement_seconds,
            server_settings={
                "application_name": "ratchetmq keydir",
                "idle_in_transaction_session_timeout": str(IDLE_MS),
            },
        )
        return connection

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=CONNECTIONS,
        max_overflow=EXTRA_CONNECTIONS,
        hide_parameters=True,
        isolation_level="READ COMMITTED",
    )


def _state(error: BaseException) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return str(getattr(cause, "sqlstate", None) or "")


def _reason(state: str, error: BaseException) -> str:
    for found, shown in _REASONS:
        if state.startswith(found):
            return shown
    if isinstance(error, OSError):
        return "it does not answer; start it, or check the address"
    return "it could not be read or written"
