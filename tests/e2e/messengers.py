"""Messengers of new users on a served system, and waiting for what comes to them."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

from client_sdk import Messenger, ReceivedMessage
from tests.e2e.clinic import Clinic

PATIENCE = 20.0

Wanted = TypeVar("Wanted")


class Party:
    """Opens messengers of new users, and closes all of them at the end of a test."""

    def __init__(self, clinic: Clinic, folder: Path, stack: AsyncExitStack) -> None:
        self.clinic = clinic
        self.folder = folder
        self._stack = stack

    def store(self, name: str) -> Path:
        return self.folder / f"{name}.db"

    async def enrolled(self, prefix: str, role: str | None = None) -> str:
        """Return the name of a new user."""
        name = f"{prefix}_{uuid.uuid4().hex[:8]}"
        invitation = await asyncio.to_thread(self.clinic.invitation, name, role)
        enrolled = await Messenger.enroll(invitation, self.store(name))
        assert enrolled.address == f"{name}-1"
        return name

    async def opened(self, name: str, *, online: bool = True) -> Messenger:
        opened = await self._stack.enter_async_context(
            Messenger.open(self.store(name), online=online)
        )
        if online:
            assert await opened.wait_connected(PATIENCE)
        return opened

    async def pair(self) -> tuple[Messenger, Messenger]:
        doctor = await self.opened(await self.enrolled("doc", "doctor"))
        patient = await self.opened(await self.enrolled("pat", "patient"))
        return doctor, patient

    async def strangers(self) -> tuple[Messenger, Messenger]:
        one, two = await self.enrolled("one"), await self.enrolled("two")
        return await self.opened(one), await self.opened(two)


async def next_message(messenger: Messenger) -> ReceivedMessage:
    """Take one message as handled."""
    messages = messenger.messages()
    async with asyncio.timeout(PATIENCE):
        message = await anext(messages)
    await messages.done()
    return message


async def next_event(messenger: Messenger, kind: type[Wanted]) -> Wanted:
    async with asyncio.timeout(PATIENCE):
        async for event in messenger.events():
            if isinstance(event, kind):
                return event
    raise AssertionError("events() ended")


async def nothing_comes(messenger: Messenger, seconds: float = 1.5) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await anext(messenger.messages())
    except TimeoutError:
        return True
    return False


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await holds():  # noqa: ASYNC110 - what is asked rings no bell
            await asyncio.sleep(0.05)
