"""Many devices over one connection: requests signed beforehand, answers taken by their topics."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from client_sdk.transport.mqtt import Login, MqttTransport
from client_sdk.transport.ports import Connection
from client_sdk.wire import topics
from client_sdk.wire.codec import encode
from client_sdk.wire.directory import SIGNED_REPLY, Action, FetchBundle, Status
from client_sdk.wire.ids import UserName, device_address
from tests.unit.keydir.keydir_parties import DeviceParty

ANSWER_SECONDS: Final = 60.0


class Asked(NamedTuple):
    """One request that is ready to be sent."""

    topic: str
    answer: str
    payload: bytes


class Gateway:
    """One connection for every device."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: dict[str, asyncio.Future[bytes]] = {}

    async def listen(self) -> None:
        async for message in self._connection.incoming():
            future = self._waiting.pop(message.topic, None)
            if future is not None:
                future.set_result(message.payload)

    async def ask(self, asked: Asked) -> int:
        """Return the ns from a request to its answer, which has to be a bundle."""
        future = self._waiting[asked.answer] = asyncio.get_running_loop().create_future()
        began = time.perf_counter_ns()
        await self._connection.publish(asked.topic, asked.payload)
        async with asyncio.timeout(ANSWER_SECONDS):
            reply = SIGNED_REPLY.decode(await future)
        if reply.status is not Status.OK:
            raise RuntimeError(f"a bundle was refused: {Status(reply.status).name}")
        return time.perf_counter_ns() - began

    async def ask_all(self, asked: Iterator[Asked], window: int) -> list[int]:
        """Return the ns of each, with so many under way at a time."""
        times: list[int] = []

        async def one_by_one() -> None:
            for one in asked:
                taken = await self.ask(one)
                times.append(taken)

        async with asyncio.TaskGroup() as group:
            for _ in range(window):
                group.create_task(one_by_one())
        return times


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Gateway]:
    async with MqttTransport([url], Login("gateway", "")).connect() as connection:
        await connection.subscribe("v1/u/+/kd/+")
        gateway = Gateway(connection)
        listening = asyncio.create_task(gateway.listen())
        try:
            yield gateway
        finally:
            listening.cancel()
            await asyncio.wait({listening})


def requests(askers: Sequence[DeviceParty], targets: Sequence[UserName]) -> Iterator[Asked]:
    """Yield requests without end: the askers in turn, for targets in a mixed order."""
    number = 0
    while True:
        target = device_address(targets[number * 7 % len(targets)], 1)
        request = askers[number % len(askers)].request(
            Action.FETCH_BUNDLE, encode(FetchBundle(target))
        )
        place = (request.device, request.request_id)
        yield Asked(topics.request(*place), topics.reply(*place), encode(request))
        number += 1
