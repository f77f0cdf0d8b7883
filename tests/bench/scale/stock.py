"""Databases with so many users, each with a folder of its directory; made once where they are kept.

A database is kept with the keys of its directory. Each run writes its askers and targets anew and
forgets what the runs before it asked for, so that all of them begin alike.
"""

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from keydir.config import DirectorySettings
from tests.bench.scale.users import (
    POOL,
    copy,
    forget_use,
    in_bulk,
    party_named,
    put,
    target_names,
)
from tests.postgres import Postgres
from tests.unit.keydir.keydir_parties import DeviceParty, DirectoryParty

ASKERS: Final = 80
"""Devices that ask in turn: a bundle a minute and sixty at once are allowed to each."""

VACUUM_SECONDS: Final = 600.0
READ_BYTES: Final = 1 << 20
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


@contextmanager
def stocked(
    kind: str, users: int, groups: int, keep: Path, server: Postgres | None
) -> Iterator[Stock]:
    """Yield a database of so many users in a folder of its own under ``keep``."""
    folder = keep / f"{kind}-{users}"
    filled = (folder / READY).exists()
    if not filled:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    database = _address(kind, users, folder, server, made=filled)
    office = DirectoryParty(folder / "data", database=database)
    try:
        invitation = office.invited("nobody", "patient").invitation
        settings = office.settings
    finally:
        office.close()
    askers = [
        [party_named(invitation, f"asker{group}x{number}") for number in range(ASKERS)]
        for group in range(groups)
    ]
    targets = [party_named(invitation, name) for name in target_names(users)]

    def work(connection: Connection) -> None:
        forget_use(connection)
        put(connection, [one for group in askers for one in group], "doctor", 0)
        put(connection, targets, "patient", POOL)
        if not filled:
            copy(connection, users)

    began = time.monotonic()
    in_bulk(database, work)
    if server is not None and not filled:
        # What a server that runs for a while has done by itself, at some time of the run.
        server.sql("VACUUM (ANALYZE)", database.rpartition("/")[2], VACUUM_SECONDS)
    if server is not None:
        server.sql("CHECKPOINT", seconds=VACUUM_SECONDS)
    os.sync()  # else the first commits that are timed wait for what was written in bulk
    for file in _files(folder, server):
        _read_through(file)
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


def _read_through(file: Path) -> None:
    """Have the system's cache hold a file, as it does where a server has run for a while."""
    with file.open("rb", buffering=0) as opened:
        while opened.read(READ_BYTES):
            pass


def _address(kind: str, users: int, folder: Path, server: Postgres | None, *, made: bool) -> str:
    if server is None:
        return f"sqlite:///{folder / 'directory.db'}"
    name = f"users{users}"
    if not made:
        server.sql(f"DROP DATABASE IF EXISTS {name}")
        server.sql(f"CREATE DATABASE {name}")
    return server.url(name)
