"""Users of what the guide sets up: they enrol, write, and are away in between."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from client_sdk import Messenger
from keydir.commands import Invite, invite
from keydir.config import DirectorySettings, read_settings
from tests.guide.machines import Machine

FIRST, OTHER = "house", "ada"
"""A doctor and a patient, who enrol in the first chapter and stay to the last."""

SECONDS = 90.0
"""How long a message may take on a busy machine, a cluster that elects a leader included."""


class People:
    """Devices elsewhere, invited by the operator of a server."""

    def __init__(self, folder: Path, server: Machine) -> None:
        self._folder = folder
        self._server = server
        self._number = 0
        self._waiting: str | None = None

    async def enrol(self, user: str) -> None:
        """Take the invitation that a block of the guide has written."""
        line = self._server.path(f"/var/lib/ratchetmq/{user}.invitation").read_text()
        await Messenger.enroll(line.strip(), self._store(user))

    async def newcomer(self) -> str:
        """Invite and enrol somebody new, as the guide does; return the name."""
        self._number += 1
        user = f"new{self._number}"
        invited = invite(self._settings(), Invite(user, "patient"))
        await Messenger.enroll(invited.invitation, self._store(user))
        return user

    async def talk(self, other: str = OTHER) -> None:
        """Prove that what waits arrives and that both reach each other; leave a text waiting."""
        self._number += 1
        text = f"text {self._number}"
        async with Messenger.open(self._store(FIRST)) as first:
            async with Messenger.open(self._store(other)) as second:
                if other == OTHER and self._waiting is not None:
                    await received(second, self._waiting)
                await written(first, second, f"{text} there")
                await written(second, first, f"{text} back")
            if other == OTHER:
                self._waiting = f"{text} waits"
                await first.send(other, self._waiting)

    @asynccontextmanager
    async def enrolling(self) -> AsyncIterator[None]:
        """Enrol one newcomer after the other meanwhile: every request of theirs is answered."""
        stop = asyncio.Event()

        async def work() -> None:
            while not stop.is_set():
                await self.newcomer()

        working = asyncio.create_task(work())
        try:
            yield
        finally:
            stop.set()
            await working

    def _settings(self) -> DirectorySettings:
        shared = self._server.path("/etc/ratchetmq/directory.toml")
        if shared.exists():
            return read_settings(shared)
        return DirectorySettings(data_dir=self._server.path("/var/lib/ratchetmq"))

    def _store(self, user: str) -> Path:
        return self._folder / f"{user}.db"


async def written(one: Messenger, other: Messenger, text: str) -> None:
    """Return when a text has gone from one to the other and its receipt has come back."""
    sent = await one.send(other.user, text)
    await received(other, text)
    await sent.delivered(SECONDS)


async def received(messenger: Messenger, text: str) -> None:
    """Take messages as an app does until this one comes."""
    async with asyncio.timeout(SECONDS):
        async for message in messenger.messages():
            if message.text == text:
                return
