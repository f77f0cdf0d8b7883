"""A key directory and two users on any broker: `ratchetmq keydir` as a process, real devices."""

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Self

from client_sdk import Messenger
from keydir.commands import Invite, Revoked, invite, revoke
from keydir.config import DirectorySettings
from tests.brokers.contract.under_test import BrokerUnderTest
from tests.e2e.clinic import until
from tests.e2e.programs import Program, ratchetmq


class Office:
    """The directory of one broker; leave its context and its process is gone."""

    def __init__(self, broker: BrokerUnderTest, folder: Path) -> None:
        self.broker = broker
        self.folder = folder
        self.settings = DirectorySettings(data_dir=broker.data_dir)
        self._directory: Program | None = None

    def __enter__(self) -> Self:
        urls = [word for url in self.broker.urls for word in ("--broker-url", url)]
        command = ratchetmq("keydir", "--data", str(self.broker.data_dir), *urls, "--json")
        self._directory = Program(command)
        assert self._directory.row() == {"event": "ready"}
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the directory's process."""
        if self._directory is not None:
            self._directory.kill()
        self._directory = None

    def until_swept(self, device: str) -> None:
        """Return when the running directory has recorded that nothing of a device is left."""
        query = "SELECT swept_at FROM devices WHERE address = ?"

        def swept() -> bool:
            with closing(sqlite3.connect(self.settings.database_path)) as database:
                return database.execute(query, (device,)).fetchone()[0] is not None

        until(swept, f"{device} is swept")

    def store(self, user: str) -> Path:
        return self.folder / f"{user}.db"

    async def enrol(self, user: str, role: str, urls: Sequence[str] = ()) -> None:
        """Invite and enrol a user whose invitation names all addresses of the broker."""
        wanted = Invite(user, role, broker_urls=tuple(urls or self.broker.urls))
        line = (await asyncio.to_thread(invite, self.settings, wanted)).invitation
        await Messenger.enroll(line, self.store(user))

    async def revoke(self, user: str) -> Revoked:
        """Take a user's login, as an operator does."""
        return await asyncio.to_thread(revoke, self.settings, user)
