"""What a client of the load does: send within a window, gather, answer, play ping-pong."""

import asyncio
import os
import secrets
import struct
import threading
import time
from array import array
from collections.abc import Iterator
from typing import Final

from tests.bench.brokers.clients import Client
from tests.bench.brokers.names import answer_topic
from tests.bench.rows import NS_PER_MS, NS_PER_S, quantile

PAYLOAD_BYTES: Final = 300
_HEAD: Final = struct.Struct("!QQ")
_REST: Final = os.urandom(PAYLOAD_BYTES - _HEAD.size)


class Lull:
    """An event of any thread, awaited on one loop for so long as something still happens."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def set(self) -> None:
        self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self, seconds: float) -> bool:
        """Tell whether it was set in time."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return False
        return True


class Pump:
    """Publishes messages with the time of their sending in them, ``window`` unacknowledged."""

    def __init__(
        self, client: Client, topics: Iterator[bytes], *, window: int, retain: bool
    ) -> None:
        self._client, self._topics = client, topics
        self._window, self._retain = window, retain
        self._first = secrets.randbits(62)  # so that numbers of several pumps differ
        self._lock = threading.Lock()
        self._sent = self._acked = self._count = 0
        self._until = 0
        self._done = Lull()

    async def run(self, count: int, seconds: float) -> dict[str, float]:
        """Publish ``count``, fewer when ``seconds`` are over, and wait for what is not acked."""
        began = time.monotonic_ns()
        self._count, self._until = count, began + int(seconds * NS_PER_S)
        self._client.on_ack = self._took_ack
        with self._lock:
            self._fill()
        self._client.flush()
        await self._done.wait(2 * seconds)
        return {"sent": self._sent, "acked": self._acked, "began": began}

    def _took_ack(self) -> None:
        with self._lock:
            self._acked += 1
            if self._sent < self._count and time.monotonic_ns() > self._until:
                self._count = self._sent
            self._fill()
        if self._acked == self._count:
            self._done.set()

    def _fill(self) -> None:
        while self._sent < self._count and self._sent - self._acked < self._window:
            payload = _HEAD.pack(self._first + self._sent, time.monotonic_ns()) + _REST
            self._sent += 1
            self._client.publish(next(self._topics), payload, retain=self._retain)


class Gatherer:
    """Counts what arrives by its numbers, and how long each was under way."""

    def __init__(self, client: Client, *, clear: bool) -> None:
        self._client, self._clear = client, clear
        self._numbers: set[int] = set()
        self._cleared = 0
        self._duplicates = 0
        self._last = 0
        self._took = array("q")
        self._wanted = -1
        self._enough, self._clean = Lull(), Lull()
        client.on_message = self._took_message
        client.on_ack = self._took_ack

    async def result(self, count: int, seconds: float) -> dict[str, float]:
        """Wait until ``count`` arrived and were cleared, at most ``seconds``; what came."""
        self._wanted = count
        if len(self._numbers) < count:
            await self._enough.wait(seconds)
        received, last = len(self._numbers), self._last
        if self._clear and self._cleared < received:
            await self._clean.wait(seconds)
        took = sorted(self._took) or [0]
        return {
            "received": received,
            "duplicates": self._duplicates,
            "last": last if received == count else time.monotonic_ns(),
            "p50_ms": quantile(took, 0.5) / NS_PER_MS,
            "p99_ms": quantile(took, 0.99) / NS_PER_MS,
        }

    def _took_message(self, topic: bytes, payload: bytes) -> None:
        if not payload:
            return
        now = time.monotonic_ns()
        number, sent = _HEAD.unpack_from(payload)
        if number in self._numbers:
            self._duplicates += 1
            return
        self._numbers.add(number)
        self._took.append(now - sent)
        self._last = now
        if self._clear:
            self._client.publish(topic, b"", retain=True)
        if len(self._numbers) == self._wanted:
            self._enough.set()

    def _took_ack(self) -> None:
        self._cleared += 1
        if self._cleared == len(self._numbers):
            self._clean.set()


class Echo:
    """Answers every message, and clears it when it waited."""

    def __init__(self, client: Client, *, clear: bool) -> None:
        self._client, self._clear = client, clear
        client.on_message = self._took_message

    def _took_message(self, topic: bytes, payload: bytes) -> None:
        if payload:
            self._client.publish(answer_topic(topic), payload, retain=self._clear)
            if self._clear:
                self._client.publish(topic, b"", retain=True)


class Pinger:
    """One message at a time; the next leaves when its answer is here."""

    def __init__(self, client: Client, topics: Iterator[bytes], *, clear: bool) -> None:
        self._client, self._topics, self._clear = client, topics, clear
        self._took = array("q")
        self._left = self._until = 0
        self._done = Lull()
        client.on_message = self._took_message

    async def run(self, count: int, seconds: float) -> dict[str, float]:
        """Play ``count`` rounds, fewer when ``seconds`` are over; the quantiles of a round."""
        self._left = count
        self._until = time.monotonic_ns() + int(seconds * NS_PER_S)
        self._ping()
        self._client.flush()
        await self._done.wait(2 * seconds)
        took = sorted(self._took)
        if not took:
            return {"rounds": 0, "p50_ms": 0.0, "p99_ms": 0.0}
        p50, p99 = (quantile(took, share) / NS_PER_MS for share in (0.5, 0.99))
        return {"rounds": len(took), "p50_ms": p50, "p99_ms": p99}

    def _ping(self) -> None:
        payload = _HEAD.pack(self._left, time.monotonic_ns()) + _REST
        self._client.publish(next(self._topics), payload, retain=self._clear)

    def _took_message(self, topic: bytes, payload: bytes) -> None:
        if not payload:
            return
        now = time.monotonic_ns()
        self._took.append(now - _HEAD.unpack_from(payload)[1])
        if self._clear:
            self._client.publish(topic, b"", retain=True)
        self._left -= 1
        if self._left > 0 and now < self._until:
            self._ping()
        else:
            self._done.set()
