"""Users of what the guide sets up: they enrol, write, and are away in between."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from client_sdk import Messenger
from keydir.commands import Invite, invite
from keydir.config import DirectorySettings, read_settings
from tests.e2e.ward import delivered, received
from tests.guide.machines import Machine

FIRST, OTHER = "house", "ada"
"""A doctor and a patient, who enrol in the first chapter and stay to the last."""


class People:
    """Devices on one machine of their own, invited by the operator of another."""

    def __init__(self, folder: Path, server: Machine) -> None:
        self._folder = folder
        self._server = server
        self._number = 0
        self._waiting: str | None = None

    async def enrol(self, user: str) -> None:
        """Take the invitation that a block of the guide has written."""
        line = self._server.path(f"/home/{user}.invitation").read_text()
        await Messenger.enroll(line.strip(), self._store(user))

    async def newcomer(self) -> str:
        """Invite and enrol somebody as the guide does, who then writes to the doctor."""
        self._number += 1
        user = f"new{self._number}"
        invited = invite(self._settings(), Invite(user, "patient"))
        await Messenger.enroll(invited.invitation, self._store(user))
        return user

    async def talk(self, other: str = OTHER) -> None:
        """Prove that what waits arrives, that both reach each other, and leave a text waiting."""
        self._number += 1
        text = f"text {self._number}"
        async with self._opened(FIRST) as first:
            async with self._opened(other) as second:
                if other == OTHER and self._waiting is not None:
                    await received(second, self._waiting)
                await delivered(await first.send(other, f"{text} there"))
                await received(second, f"{text} there")
                await delivered(await second.send(FIRST, f"{text} back"))
                await received(first, f"{text} back")
            if other == OTHER:
                self._waiting = f"{text} waits"
                await first.send(other, self._waiting)

    @asynccontextmanager
    async def enrolling(self) -> AsyncIterator[None]:
        """Enrol one newcomer after the other meanwhile; every request of theirs is answered."""
        stop = asyncio.Event()

        async def work() -> list[str]:
            enrolled = [await self.newcomer()]
            while not stop.is_set():
                enrolled.append(await self.newcomer())
            return enrolled

        working = asyncio.create_task(work())
        try:
            yield
        finally:
            stop.set()
            assert await working

    def _settings(self) -> DirectorySettings:
        shared = self._server.path("/etc/ratchetmq/directory.toml")
        if not shared.exists():
            return DirectorySettings(data_dir=self._server.path("/var/lib/ratchetmq"))
        replaced = shared.with_name("for-tests.toml")
        replaced.write_text(shared.read_text())
        return read_settings(replaced).model_copy(update={"broker_urls": ()})

    def _store(self, user: str) -> Path:
        return self._folder / f"{user}.db"

    @asynccontextmanager
    async def _opened(self, user: str) -> AsyncIterator[Messenger]:
        async with Messenger.open(self._store(user)) as messenger:
            yield messenger
