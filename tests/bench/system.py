"""A server in its own process, devices enrolled on it, and peers in theirs."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from client_sdk import Messenger
from client_sdk.messenger import load_own
from client_sdk.stores.sqlite import SqliteStore
from client_sdk.wire.invitation import password_text
from keydir.commands import Invite, invite
from keydir.config import DirectorySettings
from tests.bench.bare import BareLogin

PATIENCE_SECONDS: Final = 60.0
LINE_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class System:
    """A running server and the folder of everything on it."""

    url: str
    folder: Path

    def store(self, user: str) -> Path:
        """Return where a user's store is."""
        return self.folder / f"{user}.db"

    async def enroll(self, user: str, role: str) -> Path:
        """Return the store of a new device with its prekeys published."""
        settings = DirectorySettings(data_dir=self.folder / "server")
        invited = invite(settings, Invite(user, role, broker_urls=(self.url,)))
        await Messenger.enroll(invited.invitation, self.store(user))
        return self.store(user)


@asynccontextmanager
async def running_server(folder: Path) -> AsyncIterator[System]:
    """Run ``ratchetmq serve`` on a free port of the loopback interface."""
    arguments = ("-m", "broker.cli", "serve", "--data", str(folder / "server"), "--port", "0")
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield System(str((await _answer(process, "url"))["url"]), folder)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await process.wait()


class PeerProcess:
    """A peer, see ``tests.bench.peer``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def open(self) -> None:
        """Connect and wait for the connection."""
        self.tell("open")
        await self.hear("connected")

    async def count(self, count: int) -> None:
        """Have the arrival of the ``count``-th message from now on told by ``done``."""
        self.tell(f"count {count}")
        await self.hear("ready")

    async def echo(self) -> None:
        """Have every message sent back."""
        self.tell("echo")
        await self.hear("ready")

    async def done(self) -> int:
        """Return when the last awaited message was there, in ns of the monotonic clock."""
        return await self.hear("done")

    async def close(self) -> None:
        """Disconnect."""
        self.tell("close")
        await self.hear("closed")

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())

    async def hear(self, name: str) -> int:
        return int(str((await _answer(self.process, name))[name]))


@asynccontextmanager
async def running_peer(kind: str, store: Path, qos: int) -> AsyncIterator[PeerProcess]:
    """Run a peer, not connected yet; ``qos`` is that of its subscriptions."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.peer", kind, str(store), str(qos)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE_BYTES,
    )
    try:
        yield PeerProcess(process)
    finally:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await process.communicate(b"quit\n")


async def device_login(store: Path) -> BareLogin:
    """Return the MQTT login that a store holds, as ``ratchetmq credentials`` prints it."""
    opened = SqliteStore.open(store, None)
    try:
        record = (await load_own(opened)).record
    finally:
        await opened.close()
    parts = urlsplit(record.invitation.broker_urls[0])
    assert parts.hostname is not None
    assert parts.port is not None
    return BareLogin(parts.hostname, parts.port, record.address, password_text(record.credential))


async def _answer(process: asyncio.subprocess.Process, name: str) -> dict[str, object]:
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            line = await process.stdout.readline()
            if not line:
                raise RuntimeError("a process of the bench ended early; its errors are above")
            found: dict[str, object] = json.loads(line)
            if name in found:
                return found
