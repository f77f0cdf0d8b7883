"""One database connection for a whole event loop: writes made in one moment share a commit.

Statements run where they are asked for: they touch memory only, and handing each to a thread
costs several times as much as the statement, more when the interpreter is busy. What waits for
the disk, the COMMIT, runs in a thread of its own; meanwhile the next group gathers.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlcipher3 import dbapi2 as sqlcipher

from client_sdk.stores.errors import StorageFullError, StoreCorruptError, StoreError

Result = TypeVar("Result")

if TYPE_CHECKING:
    from sqlite3 import Connection  # the same interface, with types

    Database = Connection
else:
    Database = sqlcipher.Connection

MAX_GROUP: Final = 128
"""Writes that share one transaction, at most."""

IDLE_SECONDS: Final = 1.0
"""After this long without work the write-ahead log is emptied: it may hold deleted keys."""

BUSY_SECONDS: Final = 10.0
"""How long a write waits for another process's transaction, which takes milliseconds."""

_BUSY_STEP_SECONDS: Final = 0.002


@dataclass(slots=True)
class _Job:
    run: Callable[[Database], Any]
    relaxed: bool
    future: "asyncio.Future[Any]"
    outcome: Any = None
    error: BaseException | None = None


class DatabaseWorker:
    """Runs functions on one connection, one after the other."""

    def __init__(self, database: Database, closed: Callable[[], None] | None = None) -> None:
        """Take over a connection; nobody else uses it from now on.

        Args:
            database: An open connection.
            closed: Called once when it was closed.
        """
        self._database = database
        self._on_closed = closed
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._turn = asyncio.Lock()
        self._jobs: deque[_Job] = deque()
        self._flushing: asyncio.Task[None] | None = None
        self._emptying: asyncio.Task[None] | None = None
        self._closed = False
        self._dirty = False
        self._waiting: bool | None = None

    async def read(self, run: Callable[[Database], Result]) -> Result:
        """Return what ``run`` returns; it must not write.

        It sees every write that was awaited before, and always lets other tasks run once.

        Raises:
            StoreError: The storage failed.
        """
        if self._closed:
            raise _closed_error()
        async with self._turn:
            try:
                found = run(self._database)
            except sqlcipher.Error as error:
                raise store_error(error) from error
        await asyncio.sleep(0)
        return found

    async def write(self, run: Callable[[Database], Result], *, relaxed: bool = False) -> Result:
        """Return what ``run`` returns once its writes are on disk.

        Args:
            run: Writes, inside a transaction that it neither begins nor ends.
            relaxed: The writes outlive every crash of the process, but the disk is not waited
                for: a power failure may take back the last of them, in order.

        Raises:
            StoreError: The storage failed, or ``run`` raised it: none of its writes stand.
        """
        if self._closed:
            raise _closed_error()
        job = _Job(run, relaxed, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        result: Result = await job.future
        return result

    async def close(self) -> None:
        """Run what was submitted, empty the write-ahead log, close."""
        if self._closed:
            return
        self._closed = True
        for task in (self._flushing, self._emptying):
            if task is not None:
                await asyncio.wait({task})
        async with self._turn:
            await self._in_thread(self._end)
        self._thread.shutdown()
        if self._on_closed is not None:
            self._on_closed()

    async def _flush(self) -> None:
        while self._jobs:
            async with self._turn:
                group = [self._jobs.popleft() for _ in range(min(MAX_GROUP, len(self._jobs)))]
                try:
                    await self._commit(group)
                finally:
                    _resolve(group)
        if self._emptying is None or self._emptying.done():
            self._emptying = asyncio.create_task(self._empty_when_idle())

    async def _commit(self, jobs: list[_Job]) -> None:
        self._dirty = True
        waiting = not all(job.relaxed for job in jobs)
        try:
            await self._begin(waiting=waiting)
            for job in jobs:
                self._database.execute("SAVEPOINT job")
                self._attempt(job)
                if job.error is not None:
                    if not self._database.in_transaction:  # SQLite took back the whole group
                        _fail(jobs, job.error)
                        return
                    self._database.execute("ROLLBACK TO job")
                self._database.execute("RELEASE job")
            if waiting:
                await self._in_thread(lambda: self._database.execute("COMMIT"))
            else:
                self._database.execute("COMMIT")
        except sqlcipher.Error as error:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            _fail(jobs, store_error(error))

    async def _begin(self, *, waiting: bool) -> None:
        """Begin a transaction, without holding up the event loop for another process's."""
        if waiting is not self._waiting:
            self._database.execute(f"PRAGMA synchronous = {'FULL' if waiting else 'NORMAL'}")
            self._waiting = waiting
        until = time.monotonic() + BUSY_SECONDS
        patience = self._database.execute("PRAGMA busy_timeout").fetchone()[0]
        self._database.execute("PRAGMA busy_timeout = 0").fetchall()
        try:
            while True:
                try:
                    self._database.execute("BEGIN IMMEDIATE")
                except sqlcipher.OperationalError as error:
                    if "locked" not in str(error) or time.monotonic() > until:
                        raise
                else:
                    return
                await asyncio.sleep(_BUSY_STEP_SECONDS)
        finally:
            self._database.execute(f"PRAGMA busy_timeout = {patience}").fetchall()

    def _attempt(self, job: _Job) -> None:
        try:
            job.outcome = job.run(self._database)
        except sqlcipher.Error as error:
            job.error = store_error(error)
        except Exception as error:  # noqa: BLE001 - handed to the caller that waits for it
            job.error = error

    async def _empty_when_idle(self) -> None:
        while self._dirty and not self._closed:
            self._dirty = False
            for _ in range(10):  # short steps, so that closing is not held up
                await asyncio.sleep(IDLE_SECONDS / 10)
                if self._closed:
                    return
            if not self._dirty:
                async with self._turn:
                    await self._in_thread(self._empty_log)

    async def _in_thread(self, run: Callable[[], object]) -> None:
        """Run what waits for the disk; a cancelled caller still sees it to its end."""
        work = self._thread.submit(run)
        try:
            await asyncio.shield(asyncio.wrap_future(work))
        except asyncio.CancelledError:
            work.exception()  # milliseconds; the connection must not be used meanwhile
            raise

    def _empty_log(self) -> None:
        try:
            row = self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._dirty = bool(row[0])  # a reader in another process holds it: tried again
        except sqlcipher.Error:
            self._dirty = True

    def _end(self) -> None:
        self._empty_log()
        self._database.close()


def store_error(error: Exception) -> StoreError:
    """Return what a database error means to the caller."""
    text = str(error)
    if "full" in text or "disk I/O" in text:
        return StorageFullError(f"cannot write the store: {text}; free some space; nothing changed")
    if "malformed" in text or "not a database" in text:
        return StoreCorruptError(f"the store is damaged: {text}; restore it from a backup")
    return StoreError(f"the store failed: {text}; nothing was changed by this call")


def _closed_error() -> StoreError:
    return StoreError("the store is closed; nothing was written")


def _fail(jobs: list[_Job], error: BaseException) -> None:
    for job in jobs:
        job.error = job.error or error


def _resolve(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.future.done():
            continue
        if job.error is None:
            job.future.set_result(job.outcome)
        else:
            job.future.set_exception(job.error)
