"""Waiting mail: every retained message, by device, in memory and soon after on disk."""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from broker.errors import DataDirectoryError
from broker.filters import has_wildcard, matches, tree_of
from broker.logs import get_logger
from broker.mail_file import MailFile, WaitingMessage

MAX_AGE_SECONDS: Final = 30 * 24 * 3600
"""Mail that waited longer is dropped at start: its sender reported it as expired by then."""

_RETRY_SECONDS: Final = 1.0
_log = get_logger(__name__)

T = TypeVar("T")


class RetainedIndex:
    """Retained messages in order of arrival; a filter inside one tree looks only at that tree."""

    def __init__(self) -> None:
        """Start with none."""
        self._trees: dict[str | None, dict[str, WaitingMessage]] = {}

    def put(self, message: WaitingMessage) -> None:
        """Keep ``message`` in place of what its topic held."""
        self._trees.setdefault(tree_of(message.topic), {})[message.topic] = message

    def get(self, topic: str) -> WaitingMessage | None:
        """Return what waits under ``topic``."""
        return self._trees.get(tree_of(topic), {}).get(topic)

    def remove(self, topic: str) -> bool:
        """Drop what waits under ``topic``; False where nothing did."""
        tree = tree_of(topic)
        messages = self._trees.get(tree, {})
        found = messages.pop(topic, None) is not None
        if found and not messages:
            del self._trees[tree]
        return found

    def matching(self, topic_filter: str) -> list[str]:
        """Return the topics that match, the oldest of each tree first."""
        return list(self._matching(topic_filter))

    def __len__(self) -> int:
        """Return the number of messages."""
        return sum(len(messages) for messages in self._trees.values())

    def _matching(self, topic_filter: str) -> Iterator[str]:
        tree = tree_of(topic_filter)
        if tree is not None or not has_wildcard(topic_filter):
            candidates: Iterable[dict[str, WaitingMessage]] = (self._trees.get(tree, {}),)
        else:
            candidates = self._trees.values()
        for messages in candidates:
            for topic in messages:
                if matches(topic_filter, topic):
                    yield topic


class WaitingMail:
    """The retained messages of one broker, written behind to a file by one thread.

    Changes made in the same moment share one transaction. What was not yet written when the
    process is killed is lost, and sent again by the sender's outbox.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        """Prepare for ``folder``; nothing is opened before ``open``."""
        self._folder = folder
        self._clock = clock
        self._index = RetainedIndex()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="waiting-mail")
        self._file: MailFile | None = None
        self._unwritten: dict[str, WaitingMessage | None] = {}
        self._writing: dict[str, WaitingMessage | None] = {}
        self._changed = asyncio.Event()

    async def open(self) -> None:
        """Open the file and load what waits in it.

        Raises:
            DataDirectoryError: The folder or file cannot be used; it was left as it was.
        """
        oldest = int(self._clock()) - MAX_AGE_SECONDS
        try:
            loaded = await self._in_thread(lambda: self._open(oldest))
        except DataDirectoryError:
            self._thread.shutdown()
            raise
        for message in loaded:
            self._index.put(message)

    def keep(self, topic: str, payload: bytes, qos: int) -> None:
        """Retain a message; the same bytes again cost no second write."""
        known = self._index.get(topic)
        if known is not None and known.payload == payload and known.qos >= qos:
            return
        message = WaitingMessage(topic, payload, qos, int(self._clock()))
        self._index.put(message)
        self._note(topic, message)

    def clear(self, topic: str) -> None:
        """Drop what waits under ``topic``, if anything does."""
        if self._index.remove(topic):
            self._note(topic, None)

    def get(self, topic: str) -> WaitingMessage | None:
        """Return what waits under ``topic``."""
        return self._index.get(topic)

    def matching(self, topic_filter: str) -> list[str]:
        """Return the topics with waiting mail that match."""
        return self._index.matching(topic_filter)

    def __len__(self) -> int:
        """Return the number of waiting messages."""
        return len(self._index)

    async def write_behind(self) -> None:
        """Write changes until cancelled; after a failure keep them and try again."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            if not await self._flush():
                await asyncio.sleep(_RETRY_SECONDS)
                self._changed.set()

    async def close(self) -> None:
        """Write all that is left and close the file."""
        if not await self._flush():
            _log.error("waiting mail not written at close", messages=len(self._writing))
        await self._in_thread(self._close)
        self._thread.shutdown()

    def _note(self, topic: str, message: WaitingMessage | None) -> None:
        self._unwritten[topic] = message
        self._changed.set()

    async def _flush(self) -> bool:
        batch = self._writing | self._unwritten
        self._writing, self._unwritten = batch, {}
        if not batch:
            return True
        try:
            await self._in_thread(lambda: self._write(batch))
        except sqlite3.Error as error:
            _log.error("waiting mail not written", messages=len(batch), reason=str(error))
            return False
        self._writing = {}
        return True

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _open(self, oldest: int) -> list[WaitingMessage]:
        self._file = MailFile.open(self._folder)
        return self._file.load(oldest)

    def _write(self, batch: dict[str, WaitingMessage | None]) -> None:
        if self._file is not None:
            self._file.write(batch)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
