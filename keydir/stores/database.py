"""Which database an address names: one SQLite file, or one on a PostgreSQL server."""

from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from client_sdk.wire.errors import MisuseError

FORMS: Final = "use sqlite:///FILE or postgresql://user@host:port/database"


class DatabaseUrlError(MisuseError):
    """A database address that the directory cannot use; nothing was opened."""

    code = "database_url"


def sqlite_file(url: str) -> Path | None:
    """Return the file that ``sqlite:///FILE`` names; None: it is on a PostgreSQL server.

    Raises:
        DatabaseUrlError: It is anything else.
    """
    parsed = _parsed(url)
    if parsed.drivername == "postgresql" and parsed.database:
        return None
    if parsed.drivername != "sqlite" or parsed.database in {None, "", ":memory:"}:
        raise DatabaseUrlError(f"this database is not supported; nothing was opened; {FORMS}")
    return Path(str(parsed.database))


def file_of(url: str) -> Path:
    """Return the file that ``sqlite:///FILE`` names.

    Raises:
        DatabaseUrlError: It is anything else.
    """
    path = sqlite_file(url)
    if path is None:
        raise DatabaseUrlError("this needs a database in a file; nothing was opened")
    return path


def shown_database(url: str) -> str:
    """Return a database as messages show it: the file, or the address without a password."""
    path = sqlite_file(url)
    return shown_url(url) if path is None else str(path)


def shown_url(url: str) -> str:
    """Return the address of a database on a server as messages show it."""
    parsed = _parsed(url)
    place = f"{parsed.host or 'localhost'}:{parsed.port or 5432}"
    return f"{parsed.database} on {place}"


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except (ArgumentError, ValueError) as error:
        raise DatabaseUrlError(f"not a database address; nothing was opened; {FORMS}") from error
