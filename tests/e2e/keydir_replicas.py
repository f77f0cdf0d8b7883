"""Several directories on one PostgreSQL database and one broker, each a process to be killed."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from broker.embedded import EmbeddedBroker
from broker.settings import BrokerSettings
from client_sdk.delivery.directory import REPEAT_SECONDS, REPEATS
from client_sdk.transport.ports import Connection
from client_sdk.wire import topics
from client_sdk.wire.codec import encode
from client_sdk.wire.directory import Action, SignedReply, Status
from keydir.stores.server_credentials import open_credentials
from tests.e2e.keydir_system import DirectoryProcess, System
from tests.unit.keydir.keydir_parties import DeviceParty, DirectoryParty

START_SECONDS = 20.0
ALL_REPEATS_SECONDS = REPEAT_SECONDS * REPEATS


@dataclass
class Mosquitto:
    """Debian's broker on a free port of the loopback interface; it lets everybody in."""

    port: int


def open_config(port: int) -> str:
    """Return the configuration of a Mosquitto that lets everybody in."""
    return (
        f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n"
        "use_username_as_clientid true\nmax_queued_messages 100000\nset_tcp_nodelay true\n"
    )


@asynccontextmanager
async def running_mosquitto(program: str, folder: Path) -> AsyncIterator[Mosquitto]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    file = folder / "mosquitto.conf"
    file.write_text(open_config(port))
    process = await asyncio.create_subprocess_exec(
        program, "-c", str(file), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(START_SECONDS):
            while not await _listens(port):  # noqa: ASYNC110 - a port, not an event
                await asyncio.sleep(0.02)
        yield Mosquitto(port)
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


@dataclass
class Replicas:
    """The replicas of one directory by their names, and an office that enrols without a broker."""

    system: System
    database: str
    office: DirectoryParty
    shared: bool = False
    running: dict[str, DirectoryProcess] = field(default_factory=dict)

    async def start(self, name: str) -> None:
        file = self.system.settings.data_dir / "shared.toml"
        file.write_text(f"shared_subscriptions = {str(self.shared).lower()}\n")
        place = ("--config", str(file), "--data", str(self.system.settings.data_dir))
        where = (*place, "--database", self.database, "--replica", name)
        self.running[name] = await DirectoryProcess.start(self.system, *where)

    async def end(self, name: str, number: signal.Signals = signal.SIGTERM) -> int:
        return await self.running.pop(name).end(number)

    def enrolled(self, user: str, role: str, prekeys: int = 0) -> DeviceParty:
        return self.office.enrolled(user, role, prekeys=prekeys)


@asynccontextmanager
async def replicated(
    folder: Path, database: str, program: str | None, *, shared: bool = False
) -> AsyncIterator[Replicas]:
    """Run a broker, Mosquitto where its program is given, and whatever replicas are started."""
    office = DirectoryParty(folder / "data", database=database)
    replicas: Replicas | None = None
    try:
        async with _broker(folder, database, program) as broker:
            replicas = Replicas(System(broker, office.settings), database, office, shared)
            try:
                yield replicas
            finally:
                for name in list(replicas.running):
                    await replicas.end(name, signal.SIGKILL)
    finally:
        office.close()


@asynccontextmanager
async def _broker(
    folder: Path, database: str, program: str | None
) -> AsyncIterator[EmbeddedBroker | Mosquitto]:
    if program is not None:
        async with running_mosquitto(program, folder) as mosquitto:
            yield mosquitto
        return
    credentials = await asyncio.to_thread(open_credentials, database)
    broker = EmbeddedBroker(BrokerSettings(port=0, data_dir=folder / "broker"), credentials)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()
        credentials.close()


class FailedRequestError(AssertionError):
    """Nobody answered a request, however often it was repeated."""


class Asker:
    """A connected device with several requests on their way at once; it repeats as the SDK does."""

    def __init__(self, party: DeviceParty, connection: Connection, repeat_seconds: float) -> None:
        self.party = party
        self.published = 0
        self._connection = connection
        self._repeat_seconds = repeat_seconds
        self._waiting: dict[str, asyncio.Future[bytes]] = {}

    async def listen(self) -> None:
        async for message in self._connection.incoming():
            future = self._waiting.get(message.topic)
            if future is not None and not future.done():
                future.set_result(message.payload)

    async def ask(self, action: Action, body: bytes) -> SignedReply:
        """Return the answer; one whose counter was overtaken is asked again with a new one."""
        while True:
            request = self.party.request(action, body)
            topic = topics.request(request.device, request.request_id)
            awaited = topics.reply(request.device, request.request_id)
            payload = await self._answered(topic, encode(request), awaited)
            reply = self.party.checked(payload, request)
            if reply.status is not Status.STALE_COUNTER:
                return reply

    async def _answered(self, topic: str, payload: bytes, awaited: str) -> bytes:
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[awaited] = future
        for _ in range(max(1, round(ALL_REPEATS_SECONDS / self._repeat_seconds))):
            self.published += 1
            await self._connection.publish(topic, payload)
            try:
                async with asyncio.timeout(self._repeat_seconds):
                    return await asyncio.shield(future)
            except TimeoutError:
                continue
        raise FailedRequestError(f"no answer under {awaited}")


@asynccontextmanager
async def asking(
    system: System, party: DeviceParty, repeat_seconds: float = REPEAT_SECONDS
) -> AsyncIterator[Asker]:
    async with system.connected(party) as live:
        asker = Asker(party, live.connection, repeat_seconds)
        listening = asyncio.create_task(asker.listen())
        try:
            yield asker
        finally:
            listening.cancel()
            await asyncio.wait({listening})
