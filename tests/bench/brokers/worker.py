"""A process of the load: ``python -m tests.bench.brokers.worker raw``.

Commands come as JSON lines on stdin, each is answered by one JSON line; it ends with its stdin.
Times are of the system's monotonic clock, which all processes share.
"""

import asyncio
import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

from tests.bench.brokers.clients import CLIENTS, Client, RawClient, RefusedError
from tests.bench.brokers.loads import Echo, Gatherer, Pinger, Pump
from tests.bench.brokers.names import (
    SENDERS,
    filter_of,
    numbered_topic,
    other,
    topics_of,
)

CONNECTING: Final = 50
"""Logins of the crowd that are under way at a time."""
FILL_WINDOW: Final = 50

Command = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class Worker:
    """Its connections by name; a name holds the broker and the login."""

    def __init__(self, client: str) -> None:
        self._client = CLIENTS[client]
        self._devices: dict[str, Client] = {}
        self._gatherers: dict[str, Gatherer] = {}
        self._crowd: list[RawClient] = []
        self._fillers: list[RawClient] = []
        self.commands: Final[dict[str, Command]] = {
            "open": self.open,
            "pump": self.pump,
            "gather": self.gather,
            "gathered": self.gathered,
            "echo": self.echo,
            "ping": self.ping,
            "crowd": self.crowd,
            "fill": self.fill,
            "close": self.close,
        }

    async def open(self, ask: dict[str, Any]) -> dict[str, Any]:
        """Log in, gather from the first message on where it subscribes; when it began."""
        began, client = time.monotonic_ns(), self._client()
        await client.open(ask["port"], ask["login"])
        self._devices[ask["at"]] = client
        self._gatherers[ask["at"]] = Gatherer(client, clear=False)
        for topic_filter in ask.get("filters", ()):
            await client.subscribe(topic_filter, ask["qos"])
        return {"began": began}

    async def pump(self, ask: dict[str, Any]) -> dict[str, Any]:
        topics = topics_of(ask["kind"], ask["login"], ask["to"])
        retain = ask["kind"] == "mail"
        pump = Pump(self._devices[ask["at"]], topics, window=ask["window"], retain=retain)
        gc.collect()
        return await pump.run(ask["count"], ask["seconds"])

    async def gather(self, ask: dict[str, Any]) -> dict[str, Any]:
        self._gatherers[ask["at"]] = Gatherer(self._devices[ask["at"]], clear=ask["clear"])
        gc.collect()
        return {}

    async def gathered(self, ask: dict[str, Any]) -> dict[str, Any]:
        return await self._gatherers[ask["at"]].result(ask["count"], ask["seconds"])

    async def echo(self, ask: dict[str, Any]) -> dict[str, Any]:
        Echo(self._devices[ask["at"]], clear=ask["kind"] == "mail")
        return {}

    async def ping(self, ask: dict[str, Any]) -> dict[str, Any]:
        topics = topics_of(ask["kind"], ask["login"], ask["to"])
        clear = ask["kind"] == "mail"
        pinger = Pinger(self._devices[ask["at"]], topics, clear=clear)
        return await pinger.run(ask["count"], ask["seconds"])

    async def crowd(self, ask: dict[str, Any]) -> dict[str, Any]:
        """Connect others with one filter each until there are ``count`` or time is over."""
        until = time.monotonic() + ask["seconds"]
        while len(self._crowd) < ask["count"] and time.monotonic() < until:
            first = len(self._crowd)
            numbers = range(first, min(first + CONNECTING, ask["count"]))
            joining = (_join(ask["port"], other(number)) for number in numbers)
            self._crowd += await asyncio.gather(*joining)
        return {"open": len(self._crowd)}

    async def fill(self, ask: dict[str, Any]) -> dict[str, Any]:
        """Leave ``each`` messages of every sender with ``recipients``; how many were acked."""
        recipients = ask["recipients"]
        while len(self._fillers) < len(SENDERS):  # they stay: amqtt forgets what it acknowledged
            self._fillers.append(RawClient())
            await self._fillers[-1].open(ask["port"], SENDERS[len(self._fillers) - 1])
        pumps = [
            Pump(client, _filling(number, recipients, ask["each"]), window=FILL_WINDOW, retain=True)
            for number, client in enumerate(self._fillers)
        ]
        count = ask["each"] * len(recipients)
        results = await asyncio.gather(*(pump.run(count, ask["seconds"]) for pump in pumps))
        return {"acked": sum(int(one["acked"]) for one in results)}

    async def close(self, ask: dict[str, Any]) -> dict[str, Any]:
        await self._devices.pop(ask["at"]).close()
        return {}


async def _join(port: int, login: str) -> RawClient:
    client = RawClient()
    await client.open(port, login)
    await client.subscribe(filter_of(login), 0)
    return client


def _filling(sender: int, recipients: list[str], each: int) -> Iterator[bytes]:
    for number in range(each):
        for recipient in recipients:
            yield numbered_topic(SENDERS[sender], recipient, sender * each + number)


async def serve(client: str) -> None:
    worker = Worker(client)
    while line := await asyncio.to_thread(sys.stdin.readline):
        ask = json.loads(line)
        try:
            answer = await worker.commands[ask["do"]](ask)
        except (RefusedError, OSError, TimeoutError) as error:
            answer = {"error": f"{type(error).__name__}: {error}".removesuffix(": ")}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
