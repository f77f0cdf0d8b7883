"""Databases with so many users, each with a folder of its directory; made once where they are kept.

A database is kept with the keys of its directory. Each run writes its askers and targets anew and
forgets what the runs before it asked for, so that all of them begin alike.
"""

import asyncio
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from keydir.config import DirectorySettings
from tests.bench.brokers.workers import GoneError, running_process
from tests.bench.scale.fill import directory_in
from tests.bench.scale.users import POOL, forget_use, in_bulk, party_named, put, target_names
from tests.postgres import Postgres
from tests.unit.keydir.keydir_parties import DeviceParty

ASKERS: Final = 80
"""Devices that ask in turn: a bundle a minute and sixty at once are allowed to each."""

READ_BYTES: Final = 1 << 24
READY: Final = "filled"


@dataclass(frozen=True)
class Stock:
    """A filled database, and who asks it.

    Attributes:
        kind: ``sqlite`` or ``postgresql``.
        users: How many there are, without those who ask.
        settings: Of its directory.
        groups: Devices that ask, one group for each number of replicas.
    """

    kind: str
    users: int
    folder: Path
    settings: DirectorySettings
    groups: Sequence[Sequence[DeviceParty]]


@asynccontextmanager
async def stocked(
    kind: str, users: int, groups: int, keep: Path, server: Postgres | None
) -> AsyncIterator[Stock]:
    """Yield a database of so many users in a folder of its own under ``keep``."""
    folder = keep / f"{kind}-{users}"
    filled = (folder / READY).exists()
    began = time.monotonic()
    database = f"sqlite:///{folder / 'directory.db'}"
    if server is not None:
        database = server.url(f"users{users}")
    if not filled:
        _make_empty(folder, server, f"users{users}")
        await _fill(folder, database, users)
    settings, invitation = directory_in(folder, database)
    askers = [
        [party_named(invitation, f"asker{group}x{number}") for number in range(ASKERS)]
        for group in range(groups)
    ]
    targets = [party_named(invitation, name) for name in target_names(users)]

    def work(connection: Connection) -> None:
        forget_use(connection)
        put(connection, [one for group in askers for one in group], "doctor", 0)
        put(connection, targets, "patient", POOL)

    in_bulk(database, work)
    if server is not None:
        server.sql("CHECKPOINT")
    os.sync()  # else the first commits that are timed wait for what was written in bulk
    for file in _files(folder, server):
        await _read_through(file)
    (folder / READY).touch()
    what = "kept users found" if filled else "users filled in"
    print(f"{kind}: {users:,} {what}, {time.monotonic() - began:.1f} s", flush=True)
    yield Stock(kind, users, folder, settings, askers)


def _files(folder: Path, server: Postgres | None) -> Iterator[Path]:
    """Yield the files of the data; those of every database of a server."""
    if server is None:
        yield folder / "directory.db"
    else:
        yield from (server.folder / "data" / "base").glob("*/[0-9]*")


async def _read_through(file: Path) -> None:
    """Have the system's cache hold a file, as it does where a server has run for a while."""
    with file.open("rb", buffering=0) as opened:
        while opened.read(READ_BYTES):  # noqa: ASYNC110
            await asyncio.sleep(0)  # seconds in all: a signal ends it


def _make_empty(folder: Path, server: Postgres | None, name: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if server is not None:
        server.sql(f"DROP DATABASE IF EXISTS {name}")
        server.sql(f"CREATE DATABASE {name}")


async def _fill(folder: Path, database: str, users: int) -> None:
    module = "tests.bench.scale.fill"
    command = (sys.executable, "-m", module, str(folder), database, str(users))
    async with running_process(command) as process:
        await process.communicate()
    if process.returncode != 0:
        raise GoneError(f"{database} was not filled; it says why above")
