"""The settings of one key directory; each can come from the environment too."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from client_sdk.wire.errors import MisuseError
from client_sdk.wire.ids import DIRECTORY_LOGIN, DIRECTORY_REPLICA_PREFIX, is_replica_name
from client_sdk.wire.invitation import MAX_BROKER_URLS
from keydir.logs import LogFormat, LogLevel
from keydir.stores.database import file_of, sqlite_file

POLL_SECONDS: Final = 1.0
"""How often a change made by another process is looked for: well under the promised 5 s."""

QUIET_SECONDS: Final = 1.0
"""A sweep takes a device's retained topics for complete when none has come for this long."""


MAX_SETTINGS_BYTES: Final = 64 * 1024
"""A file of settings; each has a line."""


class SettingsError(MisuseError):
    """A setting that is unknown, missing or wrong; nothing was changed."""

    code = "settings"


class SettingsFileError(SettingsError):
    """A file of settings that cannot be used; nothing was changed."""

    code = "settings_file"


def _checked_url(url: str | None) -> str | None:
    if url is not None:
        sqlite_file(url)
    return url


def _checked_replica(name: str | None) -> str | None:
    if name is not None and not is_replica_name(name):
        raise ReplicaNameError("a replica's name has 1 to 16 of a-z and 0-9; nothing was started")
    return name


class ReplicaNameError(MisuseError):
    """A name that no replica can have; nothing was started."""

    code = "replica_name"


class DirectorySettings(BaseSettings):
    """Where a key directory keeps its state and how it reaches its broker.

    Attributes:
        data_dir: The folder of its keys, its login and, unless told otherwise, its database.
        broker_urls: Addresses of the broker, tried in turn.
        database_url: ``sqlite:///FILE`` or ``postgresql://user@host:port/database``; None is
            ``directory.db`` in ``data_dir``.
        replica: A name of its own for each of several directories on one broker and one database;
            None where there is only one.
        shared_subscriptions: Whether the broker hands each request to one of the replicas
            (``$share`` of Mosquitto); otherwise they divide the senders among themselves.
        policy: ``clinic``, ``open`` or a TOML file; None keeps the one of the last start, and is
            ``clinic`` at the first.
        log_level: The least that is logged.
        log_format: One line a record for people, or one JSON object.
        poll_seconds: How often changes by other processes are looked for.
        quiet_seconds: How long a sweep listens after the last topic.
    """

    model_config = SettingsConfigDict(env_prefix="RATCHETMQ_KEYDIR_", frozen=True, extra="forbid")

    data_dir: Path
    broker_urls: Annotated[tuple[str, ...], Field(max_length=MAX_BROKER_URLS)] = ()
    database_url: Annotated[str | None, AfterValidator(_checked_url), Field(repr=False)] = None
    policy: str | None = None
    log_level: LogLevel = "warning"
    log_format: LogFormat = "text"
    replica: Annotated[str | None, AfterValidator(_checked_replica)] = None
    shared_subscriptions: bool = False
    poll_seconds: Annotated[float, Field(gt=0)] = POLL_SECONDS
    quiet_seconds: Annotated[float, Field(gt=0)] = QUIET_SECONDS

    @property
    def database(self) -> str:
        """The address of the database."""
        return self.database_url or f"sqlite:///{self.data_dir / 'directory.db'}"

    @property
    def database_path(self) -> Path:
        """The database's file.

        Raises:
            DatabaseUrlError: It is on a server.
        """
        return file_of(self.database)

    @property
    def login_name(self) -> str:
        """The name under which this replica logs in to the broker."""
        return (
            DIRECTORY_LOGIN if self.replica is None else f"{DIRECTORY_REPLICA_PREFIX}{self.replica}"
        )


def read_settings(path: Path, **instead: object) -> DirectorySettings:
    """Return the settings in a TOML file; its folders are seen from the file's own.

    Args:
        path: The file; its keys are the attributes of ``DirectorySettings``.
        instead: Values that hold instead of the file's, where they are not None.

    Raises:
        SettingsFileError: It cannot be read, is not TOML, or a key is unknown or wrong.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_SETTINGS_BYTES + 1)
    except OSError as error:
        raise SettingsFileError(f"{path}: {error.strerror}; nothing was changed") from error
    if len(text) > MAX_SETTINGS_BYTES:
        raise SettingsFileError(f"{path}: over {MAX_SETTINGS_BYTES} bytes; nothing was changed")
    try:
        found = tomllib.loads(text.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsFileError(f"{path}: not TOML: {error}; nothing was changed") from error
    if "data_dir" in found:
        found["data_dir"] = str(path.parent / str(found["data_dir"]))
    try:
        return settings_of(**{**found, **_given(instead)})
    except SettingsError as error:
        raise SettingsFileError(f"{path}: {error}") from None


def settings_of(**values: object) -> DirectorySettings:
    """Return settings of values that were given; None stands for what was not.

    Raises:
        SettingsError: One is unknown, missing or wrong.
    """
    try:
        return DirectorySettings.model_validate(_given(values))
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{where}: {first['msg']}; nothing was changed") from None


def _given(values: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}
