"""A process with many Messengers, each with its store: ``python -m tests.bench.scale.client``.

Commands come as JSON lines on stdin, each is answered by one JSON line; it ends with its stdin. A
text holds the time of its ``send`` by the system's monotonic clock, which all processes share.
"""

import asyncio
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Final

from client_sdk import Messenger

AT_A_TIME: Final = 10
"""Enrolments and connections of one process that are under way together."""

CONNECT_SECONDS: Final = 60.0
MEET_SECONDS: Final = 100.0
DRAIN_SECONDS: Final = 100.0
LOOK_SECONDS: Final = 0.1
TEXT_BYTES: Final = 64


class Client:
    """One device that writes to its partner and takes what it is handed over."""

    def __init__(self, messenger: Messenger, partner: str) -> None:
        self._messenger = messenger
        self._partner = partner
        self._sends: set[asyncio.Task[None]] = set()
        self.answers = False
        self.heard = asyncio.Event()
        self.taken: list[tuple[int, int]] = []
        """When each message was sent, and when it was handed over, in ns."""

    async def receive(self) -> None:
        async for message in self._messenger.messages():
            now = time.monotonic_ns()
            self.taken.append((int((message.text or "").split()[0]), now))
            self.heard.set()
            if self.answers:
                self.write()

    def write(self) -> None:
        """Send one text, beside whatever else is sent."""
        task = asyncio.create_task(self.send())
        self._sends.add(task)
        task.add_done_callback(self._sends.discard)

    async def send(self) -> None:
        text = f"{time.monotonic_ns()} ".ljust(TEXT_BYTES, "x")
        await self._messenger.send(self._partner, text)

    async def meet(self) -> None:
        """Write until the partner's first text came: both know each other's session then."""
        await self.send()
        await self.heard.wait()

    async def pace(self, until: float, interval: float, first: float) -> None:
        """Send at fixed times, whether the ones before have arrived or not."""
        loop = asyncio.get_running_loop()
        at = loop.time() + first
        while at < until:
            await asyncio.sleep(at - loop.time())
            self.write()
            at += interval

    async def drained(self) -> None:
        """Return when nothing of it is under way."""
        while self._sends or (await self._messenger.counts()).under_way:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)


class Process:
    """Its clients; they stay connected until ``close``."""

    def __init__(self) -> None:
        self._open: list[AbstractAsyncContextManager[Messenger]] = []
        self._clients: list[Client] = []
        self._receiving: list[asyncio.Task[None]] = []
        self.commands: Final[dict[str, Callable[[dict[str, Any]], Awaitable[object]]]] = {
            "enroll": self.enroll,
            "open": self.open,
            "meet": self.meet,
            "closed": self.closed,
            "paced": self.paced,
            "drain": self.drain,
            "taken": self.taken,
            "close": self.close,
        }

    async def enroll(self, ask: dict[str, Any]) -> None:
        await _some_at_a_time(
            [Messenger.enroll(one["invitation"], one["store"]) for one in ask["devices"]]
        )

    async def open(self, ask: dict[str, Any]) -> None:
        await _some_at_a_time([self._connect(one) for one in ask["devices"]])

    async def meet(self, _: dict[str, Any]) -> None:
        async with asyncio.timeout(MEET_SECONDS):
            await _some_at_a_time([client.meet() for client in self._clients])

    async def closed(self, ask: dict[str, Any]) -> None:
        """Keep ``window`` texts of each client under way for so many seconds."""
        self._begin(answers=True)
        for client in self._clients:
            for _ in range(ask["window"]):
                client.write()
        await asyncio.sleep(ask["seconds"])
        for client in self._clients:
            client.answers = False

    async def paced(self, ask: dict[str, Any]) -> None:
        """Have every client send once in ``interval`` seconds, one after the other."""
        self._begin(answers=False)
        until = asyncio.get_running_loop().time() + ask["seconds"]
        interval, count = ask["interval"], len(self._clients)
        async with asyncio.TaskGroup() as group:
            for number, client in enumerate(self._clients):
                group.create_task(client.pace(until, interval, interval * number / count))

    async def drain(self, _: dict[str, Any]) -> None:
        async with asyncio.timeout(DRAIN_SECONDS):
            await asyncio.gather(*(client.drained() for client in self._clients))

    async def taken(self, _: dict[str, Any]) -> list[tuple[int, int]]:
        """Return what its clients were handed over since the load began."""
        for task in self._receiving:
            if task.done():
                task.result()
        return [one for client in self._clients for one in client.taken]

    async def close(self, _: dict[str, Any]) -> None:
        for task in self._receiving:
            task.cancel()
        await asyncio.gather(*self._receiving, return_exceptions=True)
        closing, self._open = self._open, []
        self._clients, self._receiving = [], []
        await _some_at_a_time([one.__aexit__(None, None, None) for one in closing])

    async def _connect(self, one: dict[str, Any]) -> None:
        opening = Messenger.open(one["store"], broker_url=one["url"])
        messenger = await opening.__aenter__()
        self._open.append(opening)
        if not await messenger.wait_connected(CONNECT_SECONDS):
            raise TimeoutError(f"not connected in {CONNECT_SECONDS:.0f} s")
        client = Client(messenger, one["partner"])
        self._clients.append(client)
        self._receiving.append(asyncio.create_task(client.receive()))

    def _begin(self, *, answers: bool) -> None:
        for client in self._clients:
            client.taken.clear()
            client.answers = answers


async def _some_at_a_time(work: list[Coroutine[Any, Any, Any]]) -> None:
    left = iter(work)

    async def one_by_one() -> None:
        for one in left:
            await one

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_A_TIME):
            group.create_task(one_by_one())


async def serve() -> None:
    process = Process()
    with suppress(KeyboardInterrupt):
        while line := await asyncio.to_thread(sys.stdin.readline):
            ask = json.loads(line)
            try:
                answer: object = {"found": await process.commands[ask["do"]](ask)}
            except Exception as error:  # noqa: BLE001 - told to whoever asked
                answer = {"error": _told(error)}
            print(json.dumps(answer), flush=True)
    await process.close({})


def _told(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}".removesuffix(": ")


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(serve())
