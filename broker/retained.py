"""Waiting mail: every retained message; its place in memory, its payload on disk, synced."""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from broker.errors import DataDirectoryError
from broker.limits import BrokerLimits
from broker.logs import get_logger
from broker.mail_file import Database, MailFile, StoredMessage, StoredPlace, connect
from broker.retained_index import RetainedIndex, Waiting
from broker.statistics import Statistics

MAX_UNWRITTEN_BYTES: Final = 32 * 1024 * 1024
"""Payload bytes that wait for the disk; past it no more is read from those who publish."""

CLEAR_SECONDS: Final = 0.1
"""How long clears wait for a message to share its transaction."""

_RETRY_SECONDS: Final = 1.0
_EXPIRY_PAGE: Final = 500
_log = get_logger(__name__)

T = TypeVar("T")


class _Batch:
    """Changes that one transaction makes."""

    def __init__(self) -> None:
        self.kept: dict[int, StoredMessage] = {}
        self.dropped: set[int] = set()
        self.size = 0

    def __bool__(self) -> bool:
        return bool(self.kept or self.dropped)


class Replayed(NamedTuple):
    """One waiting message with its payload."""

    topic: str
    payload: bytes
    qos: int


class WaitingMail:
    """The retained messages of one broker; what was committed survives a power cut.

    Changes made while the disk is busy share the next transaction. Each belongs to a numbered
    batch: it is on disk once ``committed`` has reached that number.
    """

    def __init__(
        self,
        folder: Path,
        limits: BrokerLimits,
        statistics: Statistics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare for ``folder``; nothing is opened before ``open``."""
        self.committed = 0
        """The newest batch on disk."""
        self.failing = False
        """Whether the last transaction failed; it is tried again every second."""
        self._folder = folder
        self._limits = limits
        self.statistics = statistics
        self._clock = clock
        self._index = RetainedIndex()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="waiting-mail")
        self._file: MailFile | None = None
        self._next_number = 1
        self._newest = 0
        self._collecting = _Batch()
        self._writing = _Batch()
        self._changed = asyncio.Event()
        self._clearing: asyncio.TimerHandle | None = None

    async def open(self, connect: Callable[[Path], Database] = connect) -> None:
        """Open the file and load what waits in it.

        Raises:
            DataDirectoryError: The folder or file cannot be used; it was left as it was.
        """
        try:
            loaded = await self._in_thread(lambda: self._open(connect))
        except DataDirectoryError:
            self._thread.shutdown()
            raise
        for one in loaded:
            self._index.put(one.topic, Waiting(one.number, one.size, one.qos, one.stored_at))
            self._next_number = one.number + 1

    def keep(self, topic: str, payload: bytes, qos: int) -> int:
        """Retain a message in place of what its topic held; return the number of its batch."""
        number, now = self._next_number, int(self._clock())
        self._next_number += 1
        if not self._collecting:
            self._newest += 1
        self._changed.set()
        batch = self._collecting
        before = self._index.put(topic, Waiting(number, len(payload), qos, now))
        if before is not None:
            self._drop(before.number)
        batch.kept[number] = StoredMessage(number, topic, payload, qos, now)
        batch.size += len(payload)
        return self._newest

    def clear(self, topic: str) -> None:
        """Drop what waits under ``topic``; on disk with the next message, or soon.

        Nobody waits for it: a clear that a power cut undoes brings a message once more that its
        reader knows, and every reader takes mail at least once.
        """
        before = self._index.remove(topic)
        if before is None:
            return
        if not self._collecting:
            self._newest += 1
        self._drop(before.number)
        if self._clearing is None and not self._changed.is_set():
            loop = asyncio.get_running_loop()
            self._clearing = loop.call_later(CLEAR_SECONDS, self._changed.set)

    @property
    def newest(self) -> int:
        """The number of the newest batch, on disk or not."""
        return self._newest

    @property
    def is_behind(self) -> bool:
        """Whether so much waits for the disk that no more should be taken."""
        return self._collecting.size + self._writing.size > MAX_UNWRITTEN_BYTES

    @property
    def index(self) -> RetainedIndex:
        """What waits where."""
        return self._index

    async def read(self, places: Sequence[tuple[str, Waiting]]) -> list[Replayed]:
        """Return those of the messages that still wait, in the same order.

        Raises:
            sqlite3.Error: The file cannot be read.
        """
        found = {place.number: self._unwritten(place.number) for _, place in places}
        on_disk = [number for number, payload in found.items() if payload is None]
        if on_disk:
            file = self._opened()
            found.update(await self._in_thread(lambda: file.payloads(on_disk)))
        replayed = []
        for topic, place in places:
            payload, now = found[place.number], self._index.get(topic)
            if payload is not None and now is not None and now.number == place.number:
                replayed.append(Replayed(topic, payload, place.qos))
        return replayed

    async def write(self, committed: Callable[[], None]) -> None:
        """Commit changes until cancelled, and tell each time; after a failure try again."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            self._cancel_clearing()
            if await self._flush():
                committed()
            else:
                await asyncio.sleep(_RETRY_SECONDS)
                self._changed.set()

    async def expire(self) -> None:
        """Drop what is older than the limit.

        Raises:
            sqlite3.Error: The file cannot be read.
        """
        oldest = int(self._clock()) - self._limits.max_age_seconds
        file, after = self._opened(), 0
        while True:
            page = await self._in_thread(lambda last=after: file.page(last, _EXPIRY_PAGE))  # type: ignore[misc]
            for one in page:
                now = self._index.get(one.topic)
                if one.stored_at < oldest and now is not None and now.number == one.number:
                    self.clear(one.topic)
                    self.statistics.expired += 1
            if len(page) < _EXPIRY_PAGE or page[-1].stored_at >= oldest:
                return
            after = page[-1].number

    async def close(self) -> None:
        """Write all that is left and close the file."""
        self._cancel_clearing()
        if not await self._flush():
            _log.error("waiting mail not written at close", messages=len(self._writing.kept))
        await self._in_thread(self._close)
        self._thread.shutdown()

    def _drop(self, number: int) -> None:
        unwritten = self._collecting.kept.pop(number, None)
        if unwritten is None:
            self._collecting.dropped.add(number)
        else:
            self._collecting.size -= len(unwritten.payload)

    def _unwritten(self, number: int) -> bytes | None:
        message = self._collecting.kept.get(number) or self._writing.kept.get(number)
        return None if message is None else message.payload

    def _cancel_clearing(self) -> None:
        if self._clearing is not None:
            self._clearing.cancel()
            self._clearing = None

    async def _flush(self) -> bool:
        number = self._newest
        batch = self._writing = self._merged()
        if batch:
            file, began = self._opened(), time.perf_counter()
            kept, dropped = list(batch.kept.values()), list(batch.dropped)
            try:
                await self._in_thread(lambda: file.write(kept, dropped))
            except sqlite3.Error as error:
                self.failing = True
                self.statistics.commit_failures += 1
                _log.error("waiting mail not written", messages=len(kept), reason=str(error))
                return False
            self.statistics.commits += 1
            self.statistics.commit_seconds += time.perf_counter() - began
        self._writing, self.failing = _Batch(), False
        self.committed = number
        return True

    def _merged(self) -> _Batch:
        """Return what to write now: new changes, after those of a transaction that failed."""
        failed, new = self._writing, self._collecting
        self._collecting = _Batch()
        if not failed:
            return new
        for number in new.dropped:
            message = failed.kept.pop(number, None)
            failed.size -= 0 if message is None else len(message.payload)
        failed.kept.update(new.kept)
        failed.dropped.update(new.dropped)
        failed.size += new.size
        return failed

    def _opened(self) -> MailFile:
        if self._file is None:
            raise RuntimeError("the waiting mail is not open")
        return self._file

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _open(self, connect: Callable[[Path], Database]) -> list[StoredPlace]:
        self._file = MailFile.open(self._folder, connect)
        return self._file.load(int(self._clock()) - self._limits.max_age_seconds)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
