"""Users whose store files a test copies, restores and damages."""

import asyncio
import shutil
import sqlite3
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

from sqlcipher3 import dbapi2 as sqlcipher

from client_sdk import Messenger, Sent
from client_sdk.machine.events import Event
from tests.e2e.clinic import Clinic

PATIENCE = 60.0

SUFFIXES = ("", ".key", "-wal", "-shm")


class Ward:
    """Users of one clinic whose store files a test copies, restores and damages."""

    def __init__(self, clinic: Clinic, folder: Path) -> None:
        self.clinic = clinic
        self.folder = folder

    def store(self, name: str) -> Path:
        return self.folder / f"{name}.db"

    async def enrol(self, prefix: str, role: str) -> str:
        name = f"{prefix}_{uuid.uuid4().hex[:8]}"
        invitation = await asyncio.to_thread(self.clinic.invitation, name, role)
        await Messenger.enroll(invitation, self.store(name))
        return name

    async def pair(self) -> tuple[str, str]:
        """Enrol two users who have written to each other."""
        doctor, patient = await self.enrol("doc", "doctor"), await self.enrol("pat", "patient")
        await self.talk(doctor, patient, "start")
        return doctor, patient

    async def talk(self, one: str, other: str, mark: str, rounds: int = 1) -> None:
        """Let two users answer each other in turn, each with a receipt."""
        async with self.opened(one) as first, self.opened(other) as second:
            for number in range(rounds):
                await delivered(await first.send(other, f"{mark} to {number}"))
                await delivered(await second.send(one, f"{mark} back {number}"))

    @asynccontextmanager
    async def opened(self, name: str) -> AsyncIterator[Messenger]:
        async with Messenger.open(self.store(name)) as messenger:
            assert await messenger.wait_connected(PATIENCE)
            yield messenger

    def copy(self, name: str, *, lock: bool = False) -> Path:
        """Copy a closed store; the lock file, which tells of the last opening, only if asked."""
        kept = self.folder / f"copy {uuid.uuid4().hex[:8]}"
        kept.mkdir()
        for suffix in (*SUFFIXES, *((".lock",) if lock else ())):
            file = Path(f"{self.store(name)}{suffix}")
            if file.exists():
                shutil.copy(file, kept / f"store{suffix}")
        return kept

    def restore(self, name: str, kept: Path, *, lock: bool = False) -> None:
        for suffix in (*SUFFIXES, *((".lock",) if lock else ())):
            Path(f"{self.store(name)}{suffix}").unlink(missing_ok=True)
        for file in kept.iterdir():
            shutil.copy(file, f"{self.store(name)}{file.name.removeprefix('store')}")

    def damage(self, name: str, statement: str, *values: object) -> None:
        """Change rows of a closed store past all rules."""
        with closing(self._raw(name)) as database:
            assert database.execute(statement, values).rowcount > 0
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def envelopes_made(self, name: str) -> int:
        """Return how many envelopes a closed store has ever made, receipts too."""
        with closing(self._raw(name)) as database:
            found = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'")
            return int(found.fetchone()[0])

    def take_mail(self, recipient: str) -> list[tuple[object, ...]]:
        """Remove a device's waiting mail from a stopped broker; return it in its order."""
        with closing(sqlite3.connect(self._mail)) as database:
            rows = database.execute(
                "SELECT * FROM mail WHERE topic LIKE ? ORDER BY number",
                (f"v1/u/{recipient}-1/in/%",),
            ).fetchall()
            database.executemany("DELETE FROM mail WHERE number = ?", [(row[0],) for row in rows])
            database.commit()
        return rows

    def put_mail(self, rows: list[tuple[object, ...]]) -> None:
        """Put mail back into a stopped broker."""
        with closing(sqlite3.connect(self._mail)) as database:
            database.executemany("INSERT INTO mail VALUES (?, ?, ?, ?, ?)", rows)
            database.commit()

    @property
    def _mail(self) -> Path:
        return self.clinic.data / "waiting_mail.sqlite3"

    def _raw(self, name: str) -> "sqlcipher.Connection":
        store = self.store(name)
        key = Path(f"{store}.key").read_bytes().hex() + store.read_bytes()[:16].hex()
        database = sqlcipher.connect(str(store), isolation_level=None)
        database.execute(f"PRAGMA key = \"x'{key}'\"")
        return database

    def forget_lock(self, name: str) -> None:
        Path(f"{self.store(name)}.lock").unlink()

    def forget_counters(self, name: str) -> None:
        """Let the directory forget what a device reported, as one restored from a backup has."""
        with closing(sqlite3.connect(self.clinic.data / "directory.db", timeout=20)) as database:
            database.execute("DELETE FROM store_counters WHERE address = ?", (f"{name}-1",))
            database.commit()


async def delivered(sent: Sent) -> None:
    await sent.delivered(PATIENCE)


async def received(messenger: Messenger, text: str) -> None:
    """Take messages as an app does until this one comes."""
    async with asyncio.timeout(PATIENCE):
        async for message in messenger.messages():
            if message.text == text:
                return


async def texts_from(messenger: Messenger, sender: str) -> list[str]:
    """Return what is stored of a sender's messages, sorted."""
    found = await messenger.history(sender, limit=1000)
    return sorted((one.text or "") for one in found if one.sender == sender)


async def event(messenger: Messenger, wanted: Callable[[Event], bool]) -> Event:
    async with asyncio.timeout(PATIENCE):
        async for one in messenger.events():
            if wanted(one):
                return one
    raise AssertionError("no more events")
