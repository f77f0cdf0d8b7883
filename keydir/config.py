"""The settings of one key directory; each can come from the environment too."""

from pathlib import Path
from typing import Annotated, Final

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from client_sdk.wire.errors import MisuseError
from client_sdk.wire.invitation import MAX_BROKER_URLS

POLL_SECONDS: Final = 1.0
"""How often a change made by another process is looked for: well under the promised 5 s."""

QUIET_SECONDS: Final = 1.0
"""A sweep takes a device's retained topics for complete when none has come for this long."""


class DatabaseUrlError(MisuseError):
    """A database address that the directory cannot use; nothing was opened."""

    code = "database_url"


class DirectorySettings(BaseSettings):
    """Where a key directory keeps its state and how it reaches its broker.

    Attributes:
        data_dir: The folder of its keys, its login and, unless told otherwise, its database.
        broker_urls: Addresses of the broker, tried in turn.
        database_url: ``sqlite:///FILE``; None is ``directory.db`` in ``data_dir``.
        policy: ``clinic``, ``open`` or a TOML file; None keeps the one of the last start, and is
            ``clinic`` at the first.
        poll_seconds: How often changes by other processes are looked for.
        quiet_seconds: How long a sweep listens after the last topic.
    """

    model_config = SettingsConfigDict(env_prefix="RATCHETMQ_KEYDIR_", frozen=True, extra="forbid")

    data_dir: Path
    broker_urls: Annotated[tuple[str, ...], Field(max_length=MAX_BROKER_URLS)] = ()
    database_url: str | None = None
    policy: str | None = None
    poll_seconds: Annotated[float, Field(gt=0)] = POLL_SECONDS
    quiet_seconds: Annotated[float, Field(gt=0)] = QUIET_SECONDS

    @property
    def database_path(self) -> Path:
        """The database file.

        Raises:
            DatabaseUrlError: ``database_url`` does not name an SQLite file.
        """
        if self.database_url is None:
            return self.data_dir / "directory.db"
        return database_path(self.database_url)


def database_path(url: str) -> Path:
    """Return the file that ``sqlite:///FILE`` names.

    Raises:
        DatabaseUrlError: It is anything else.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise DatabaseUrlError(
            "not a database address; nothing was opened; use sqlite:///FILE"
        ) from error
    if parsed.get_backend_name() != "sqlite" or parsed.database in {None, "", ":memory:"}:
        raise DatabaseUrlError(
            "this database is not supported; nothing was opened; use sqlite:///FILE"
        )
    return Path(str(parsed.database))
