"""An embedded broker, a key directory on it, and devices with real connections."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from broker.embedded import EmbeddedBroker
from broker.settings import BrokerSettings
from client_sdk.transport.errors import TransportError
from client_sdk.transport.mqtt import Login, MqttTransport
from client_sdk.transport.ports import Connection, Incoming
from client_sdk.wire import topics
from client_sdk.wire.codec import encode
from client_sdk.wire.directory import Action, SignedReply, SignedRequest
from client_sdk.wire.enrollment import EnrollReply, EnrollRequest, enroll_login_secret
from client_sdk.wire.ids import ENROLL_LOGIN_PREFIX
from client_sdk.wire.invitation import parse_invitation, password_text
from keydir.commands import Invite, invite
from keydir.config import DirectorySettings
from keydir.prepare import prepare_directory
from keydir.service import KeyDirectory
from keydir.stores import CredentialReader
from tests.unit.keydir.keydir_parties import DeviceParty

PATIENCE_SECONDS = 20.0


@dataclass
class System:
    """A broker whose logins are those of the directory in ``settings``."""

    broker: EmbeddedBroker
    settings: DirectorySettings

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.broker.port}"

    def transport(self, username: str, password: str) -> MqttTransport:
        return MqttTransport([self.url], Login(username, password))

    def invited(self, user: str, role: str) -> DeviceParty:
        wanted = Invite(user, role, broker_urls=(self.url,))
        return DeviceParty(parse_invitation(invite(self.settings, wanted).invitation))

    async def enrolled(self, user: str, role: str) -> DeviceParty:
        device = self.invited(user, role)
        await self.enroll(device, device.enroll_request())
        return device

    async def enroll(self, device: DeviceParty, request: EnrollRequest) -> EnrollReply:
        """Ask again until an answer comes, as a device does."""
        invitation_id = device.invitation.invitation_id
        login = ENROLL_LOGIN_PREFIX + invitation_id
        secret = enroll_login_secret(invitation_id, device.invitation.password)
        transport = self.transport(login, password_text(secret))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                async with transport.connect() as connection:
                    await connection.subscribe(topics.enrolled(invitation_id))
                    await connection.publish(*device.sealed(request))
                    payload = await first(connection, 1.0)
                if payload is not None:
                    return device.opened(payload.payload, request)

    @asynccontextmanager
    async def connected(self, device: DeviceParty) -> AsyncIterator["LiveDevice"]:
        async with self.transport(device.address, device.password).connect() as connection:
            await connection.subscribe(topics.device_tree(device.address))
            yield LiveDevice(device, connection)


@dataclass
class LiveDevice:
    """A device that is connected."""

    party: DeviceParty
    connection: Connection

    async def ask(self, action: Action, body: bytes) -> SignedReply:
        return await self.repeat(self.party.request(action, body))

    async def repeat(self, request: SignedRequest) -> SignedReply:
        topic = topics.request(request.device, request.request_id)
        awaited = topics.reply(request.device, request.request_id)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                await self.connection.publish(topic, encode(request))
                found = await first(self.connection, 2.0, awaited)
                if found is not None:
                    return self.party.checked(found.payload, request)


async def first(
    connection: Connection, seconds: float, topic: str | None = None
) -> Incoming | None:
    try:
        async with asyncio.timeout(seconds):
            async for message in connection.incoming():
                if topic in {None, message.topic} and message.payload:
                    return message
    except TimeoutError:
        pass
    return None


async def retained(connection: Connection, topic_filter: str, seconds: float = 0.5) -> set[str]:
    """Return the topics with waiting messages under a filter."""
    await connection.subscribe(topic_filter)
    found: set[str] = set()
    try:
        async with asyncio.timeout(seconds):
            async for message in connection.incoming():
                if message.payload:
                    found.add(message.topic)
    except TimeoutError:
        pass
    return found


async def refused(system: System, device: DeviceParty) -> bool:
    try:
        async with system.transport(device.address, device.password).connect():
            return False
    except TransportError:
        return True


@asynccontextmanager
async def running_system(folder: Path) -> AsyncIterator[System]:
    settings = DirectorySettings(data_dir=folder / "data", poll_seconds=0.2, quiet_seconds=0.3)
    prepared = prepare_directory(settings)
    credentials = CredentialReader(prepared.database_path)
    broker = EmbeddedBroker(BrokerSettings(port=0, data_dir=folder / "broker"), credentials)
    await broker.start()
    try:
        yield System(broker, settings)
    finally:
        await broker.stop()
        credentials.close()


@asynccontextmanager
async def running_directory(system: System) -> AsyncIterator[KeyDirectory]:
    login = prepare_directory(system.settings).login
    directory = KeyDirectory(system.settings, MqttTransport([system.url], login))
    ready = asyncio.Event()
    async with AsyncExitStack() as stack:
        group = await stack.enter_async_context(asyncio.TaskGroup())
        task = group.create_task(directory.run(ready.set))
        stack.callback(task.cancel)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await ready.wait()
        yield directory


class DirectoryProcess:
    """``keydir`` as its own process, which a test may kill."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, system: System, *where: str, url: str | None = None) -> "DirectoryProcess":
        place = where or ("--data", str(system.settings.data_dir))
        process = await asyncio.create_subprocess_exec(
            *command("keydir", "--json", "--broker-url", url or system.url, *place),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await process.stdout.readline() == b'{"event": "ready"}\n'
        return cls(process)

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.process.communicate()
        return self.process.returncode or 0


def command(*arguments: str) -> Sequence[str]:
    return (sys.executable, "-c", "from keydir.cli import app; app()", *arguments)


async def run_command(*arguments: str) -> tuple[int, str, str]:
    """Return exit code, stdout and stderr of one command."""
    process = await asyncio.create_subprocess_exec(
        *command(*arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "TERM": "dumb"},
    )
    async with asyncio.timeout(PATIENCE_SECONDS):
        stdout, stderr = await process.communicate()
    return process.returncode or 0, stdout.decode(), stderr.decode()
