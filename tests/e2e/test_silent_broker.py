"""A broker that takes connections, stops answering and ends them: a cluster without a leader."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from client_sdk import Messenger
from client_sdk.machine.events import LoginInUse
from client_sdk.transport.errors import BrokerSilentError, ConnectionLostError
from client_sdk.transport.mqtt import SILENT_SECONDS, Login, MqttConnection, MqttTransport
from tests.e2e.clinic import Clinic

PATIENCE_SECONDS = 60.0
CONNACK, SUBACK = 0x20, 0x90
CONNECT, SUBSCRIBE = 1, 8


class Mute:
    """Answers CONNECT and SUBSCRIBE, acknowledges nothing, and ends each connection."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.url = ""
        self.connections = 0
        self.changed = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.changed.set()
        try:
            async with asyncio.timeout(self._seconds):
                while True:
                    await self._answer(reader, writer)
        except (TimeoutError, asyncio.IncompleteReadError, OSError):
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (head,) = await reader.readexactly(1)
        size = shift = 0
        while True:
            (part,) = await reader.readexactly(1)
            size |= (part & 0x7F) << shift
            shift += 7
            if part < 0x80:
                break
        body = await reader.readexactly(size)
        if head >> 4 == CONNECT:
            writer.write(bytes([CONNACK, 2, 0, 0]))
        elif head >> 4 == SUBSCRIBE:
            filters, at = 0, 2
            while at < size:
                at += 2 + int.from_bytes(body[at : at + 2]) + 1
                filters += 1
            writer.write(bytes([SUBACK, 2 + filters]) + body[:2] + bytes(filters))

    async def heard(self, connections: int) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.connections < connections:
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def mute(seconds: float) -> AsyncIterator[Mute]:
    server = Mute(seconds)
    async with await asyncio.start_server(server, "127.0.0.1", 0) as listening:
        server.url = f"mqtt://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        yield server


@pytest.mark.parametrize("silent", [True, False])
async def test_what_was_left_unanswered_is_told_from_a_connection_that_just_ended(
    silent: bool,
) -> None:
    async with mute(SILENT_SECONDS + 0.5 if silent else 0.2) as server:
        transport = MqttTransport([server.url], Login("alice-1", "secret"))
        with pytest.raises(ConnectionLostError) as ended:
            await publish_and_listen(transport)
    assert (ended.type is BrokerSilentError) is silent


async def publish_and_listen(transport: MqttTransport) -> None:
    async with transport.connect() as connection:
        publishing = asyncio.create_task(connection.publish("v1/u/alice-1/x", b"x"))
        try:
            async for _ in connection.incoming():
                pytest.fail("nothing was published")
        finally:
            publishing.cancel()
            await asyncio.wait({publishing})


async def test_the_end_of_a_connection_that_nobody_listens_to_is_no_error_of_the_program() -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))
    async with mute(0.1) as server:
        await wait_for_the_end(MqttTransport([server.url], Login("alice-1", "secret")))
    gc.collect()
    assert complaints == []


async def wait_for_the_end(transport: MqttTransport) -> None:
    async with transport.connect() as connection, asyncio.timeout(PATIENCE_SECONDS):
        assert isinstance(connection, MqttConnection)
        await asyncio.wait({connection._client._disconnected})


async def test_a_device_goes_on_connecting_to_a_broker_that_is_silent(clinic: Clinic) -> None:
    doctor = await asyncio.to_thread(clinic.doctor)
    patient = await asyncio.to_thread(clinic.patient)
    async with (
        mute(SILENT_SECONDS + 0.3) as server,
        Messenger.open(doctor.store, broker_url=server.url) as messenger,
    ):
        await messenger.send(patient.name, "waits")
        found: list[object] = []

        async def listen() -> None:
            async for event in messenger.events():
                found.append(event)  # noqa: PERF401 - what came before the end counts

        listening = asyncio.create_task(listen())
        await server.heard(5)
        listening.cancel()
    assert not [event for event in found if isinstance(event, LoginInUse)]
