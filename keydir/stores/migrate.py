"""Bring a database to this version's schema, or refuse a newer one."""

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, func, inspect, select, text

from keydir.errors import DirectoryStoreError, NewerDirectoryError

HEAD: Final = "0007"
"""The newest migration; a test compares it with the folder."""

KNOWN: Final = frozenset({"0001", "0002", "0005", "0006", "0007"})
"""Every version that this program can migrate from."""

_MIGRATING: Final = 0x7261746368657471
"""The advisory lock of a schema change: two replicas may start at once on an empty database."""

MIGRATIONS: Final = Path(__file__).parent / "migrations"


def migrate(connection: Connection) -> None:
    """Make or update all tables inside the caller's transaction.

    Others who do the same on a server wait until it has ended.

    Raises:
        NewerDirectoryError: The schema is of a newer version; nothing was changed.
        DirectoryStoreError: The database belongs to another program; nothing was changed.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_MIGRATING)))
    found = schema_version(connection)
    if found == HEAD:
        return
    if found is not None and found not in KNOWN:
        raise NewerDirectoryError(
            f"the directory's database has schema {found}, this program knows up to {HEAD}; "
            "it was not changed; use the newer program"
        )
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)


def schema_version(connection: Connection) -> str | None:
    """Return the version of a database's tables; None where there are none.

    Raises:
        DirectoryStoreError: The database belongs to another program.
    """
    tables = inspect(connection).get_table_names()
    if not tables:
        return None
    if "alembic_version" not in tables:
        raise DirectoryStoreError(
            "the database belongs to another program; it was not changed; name another one"
        )
    version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if version is None else str(version)
