"""``python -m tests.bench.scale.fill FOLDER DATABASE USERS``: a database with so many users.

In a process of its own, so that Ctrl-C also ends what SQL does for minutes.
"""

import asyncio
import sys
from pathlib import Path

import asyncpg
from sqlalchemy import Connection

from client_sdk.wire.invitation import Invitation
from keydir.config import DirectorySettings
from keydir.stores.database import sqlite_file
from tests.bench.scale.users import POOL, copy, in_bulk, party_named, put, target_names
from tests.unit.keydir.keydir_parties import DirectoryParty


def directory_in(folder: Path, database: str) -> tuple[DirectorySettings, Invitation]:
    """Return the settings of a directory, made where it is not there, and an invitation of it."""
    office = DirectoryParty(folder / "data", database=database)
    try:
        return office.settings, office.invited("nobody", "patient").invitation
    finally:
        office.close()


def fill(folder: Path, database: str, users: int) -> None:
    """Make the directory, and all users who are no targets."""
    _, invitation = directory_in(folder, database)

    def work(connection: Connection) -> None:
        put(connection, [party_named(invitation, target_names(users)[0])], "patient", POOL)
        copy(connection, users)

    in_bulk(database, work)
    if sqlite_file(database) is None:
        asyncio.run(_come_to_rest(database))


async def _come_to_rest(database: str) -> None:
    """Do what a server does by itself some time after so many rows: then it is not in a run."""
    connection = await asyncpg.connect(database)
    try:
        await connection.execute("VACUUM (ANALYZE)")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


if __name__ == "__main__":
    fill(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
