"""The files beside the database: the directory's keys, its MQTT login, the server's addresses."""

import base64
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, ValidationError

from client_sdk.core.hpke import HPKE_PRIVATE_BYTES, HpkeKeyPair
from client_sdk.core.keys import PRIVATE_KEY_BYTES, Ed25519KeyPair
from client_sdk.entropy import draw_bytes, draw_ed25519, draw_hpke, draw_id
from client_sdk.transport.mqtt import Login
from client_sdk.wire.ids import DIRECTORY_LOGIN, DirectoryId
from client_sdk.wire.invitation import DirectoryIdField, password_text
from keydir.errors import DataDirectoryError

KEYS_FILE: Final = "directory.keys"
LOGIN_FILE: Final = "directory.login"
LOCK_FILE: Final = "directory.lock"
SERVER_FILE: Final = "server.json"
STOP_OR_NAME: Final = "stop it first, or give this one a name of its own with --replica"
MAX_FILE_BYTES: Final = 64 * 1024
"""Each of these files has under one KiB; a larger one is something else."""


@dataclass(frozen=True, slots=True)
class DirectoryKeys:
    """Who a directory is: its id, the key that signs and the key that enrolments are sealed to."""

    directory_id: DirectoryId
    signing: Ed25519KeyPair = field(repr=False)
    sealing: HpkeKeyPair = field(repr=False)


class _KeysFile(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    format: Literal[1] = 1
    directory_id: DirectoryIdField
    signing_key: Annotated[
        Base64Bytes, Field(min_length=PRIVATE_KEY_BYTES, max_length=PRIVATE_KEY_BYTES, repr=False)
    ]
    hpke_key: Annotated[
        Base64Bytes, Field(min_length=HPKE_PRIVATE_BYTES, max_length=HPKE_PRIVATE_BYTES, repr=False)
    ]


class _LoginFile(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    format: Literal[1] = 1
    password: Annotated[str, Field(min_length=43, max_length=43, repr=False)]


class _ServerFile(BaseModel):
    broker_urls: Annotated[tuple[str, ...], Field(min_length=1)]
    ca_fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None


def make_data_folder(data_dir: Path) -> None:
    """Make the folder, for its owner alone, where it is missing.

    Raises:
        DataDirectoryError: It cannot be made.
    """
    with _first_start(data_dir):
        pass


def make_keys(data_dir: Path) -> DirectoryKeys:
    """Return the directory's keys; the first call of all draws and stores them.

    Raises:
        DataDirectoryError: The folder cannot be used, or the file is damaged.
    """
    with _first_start(data_dir):
        if not (data_dir / KEYS_FILE).exists():
            _create(
                data_dir / KEYS_FILE,
                _KeysFile(
                    directory_id=DirectoryId(draw_id()),
                    signing_key=base64.b64encode(draw_ed25519().private_bytes()),
                    hpke_key=base64.b64encode(draw_hpke().private_bytes()),
                ),
            )
    return read_keys(data_dir)


def read_keys(data_dir: Path) -> DirectoryKeys:
    """Return the keys of a directory that was started before.

    Raises:
        DataDirectoryError: There is none in this folder, or the file is damaged.
    """
    if not (data_dir / KEYS_FILE).exists():
        raise DataDirectoryError(
            f"no key directory in {data_dir}; nothing was changed; "
            "check --data, or start `ratchetmq serve` there once"
        )
    found = _read(data_dir / KEYS_FILE, _KeysFile)
    return DirectoryKeys(
        found.directory_id,
        Ed25519KeyPair.from_private_bytes(found.signing_key),
        HpkeKeyPair.from_private_bytes(found.hpke_key),
    )


def make_login(data_dir: Path, name: str = DIRECTORY_LOGIN) -> Login:
    """Return the directory's MQTT login; the first call of all draws and stores its password.

    Args:
        data_dir: The folder of its keys.
        name: ``_kd``, or that of a replica, which has the same password.

    Raises:
        DataDirectoryError: The folder cannot be used, or the file is damaged.
    """
    with _first_start(data_dir):
        if not (data_dir / LOGIN_FILE).exists():
            _create(data_dir / LOGIN_FILE, _LoginFile(password=password_text(draw_bytes(32))))
    return Login(name, _read(data_dir / LOGIN_FILE, _LoginFile).password)


def write_broker_urls(
    data_dir: Path, broker_urls: tuple[str, ...], ca_fingerprint: bytes | None = None
) -> None:
    """Record where devices reach the broker, for invitations made later.

    Args:
        data_dir: The server's folder.
        broker_urls: At least one address.
        ca_fingerprint: SHA-256 of the private CA of its certificate, which devices pin; None
            where there is no TLS or a public CA.

    Raises:
        DataDirectoryError: The file cannot be written; the earlier one is left.
    """
    pinned = None if ca_fingerprint is None else ca_fingerprint.hex()
    _create(data_dir / SERVER_FILE, _ServerFile(broker_urls=broker_urls, ca_fingerprint=pinned))


def read_broker_urls(data_dir: Path) -> tuple[str, ...]:
    """Return what ``write_broker_urls`` recorded; empty where nothing was.

    Raises:
        DataDirectoryError: The file is damaged.
    """
    path = data_dir / SERVER_FILE
    return _read(path, _ServerFile).broker_urls if path.exists() else ()


def read_ca_fingerprint(data_dir: Path) -> bytes | None:
    """Return the fingerprint that ``write_broker_urls`` recorded, if any.

    Raises:
        DataDirectoryError: The file is damaged.
    """
    path = data_dir / SERVER_FILE
    pinned = _read(path, _ServerFile).ca_fingerprint if path.exists() else None
    return None if pinned is None else bytes.fromhex(pinned)


def lock_names(data_dir: Path) -> list[str | None]:
    """Return the replicas that ever ran in a folder, and None for a directory without a name."""
    found = data_dir.glob(_replica_lock("*"))
    prefix, _, suffix = _replica_lock("*").partition("*")
    return [None, *(path.name.removeprefix(prefix).removesuffix(suffix) for path in found)]


def _replica_lock(name: str) -> str:
    return f"directory-{name}.lock"


@contextmanager
def running_lock(
    data_dir: Path, replica: str | None = None, advice: str = STOP_OR_NAME
) -> Iterator[None]:
    """Hold the right to be the one running directory, or replica of this name, of a folder.

    Args:
        data_dir: The folder of its keys.
        replica: Its name; None for a directory without one.
        advice: What to do where another process runs there.

    Raises:
        DataDirectoryError: Another process runs there.
    """
    name = LOCK_FILE if replica is None else _replica_lock(replica)
    with _open_lock(data_dir / name) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DataDirectoryError(
                f"another key directory is running in {data_dir}; nothing was changed; {advice}"
            ) from error
        yield


@contextmanager
def _first_start(data_dir: Path) -> Iterator[None]:
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise _unusable(data_dir, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _open_lock(path: Path) -> Iterator[int]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _create(path: Path, content: BaseModel) -> None:
    temporary = path.with_name(f".{path.name}.new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content.model_dump_json())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _unusable(path, error) from error


FileModel = TypeVar("FileModel", bound=BaseModel)


def _read(path: Path, model: type[FileModel]) -> FileModel:
    try:
        with path.open("rb") as file:
            return model.model_validate_json(file.read(MAX_FILE_BYTES))
    except OSError as error:
        raise _unusable(path, error) from error
    except ValidationError:
        raise DataDirectoryError(
            f"{path} is damaged; it was not changed; restore it from a backup"
        ) from None


def _unusable(path: Path, error: OSError) -> DataDirectoryError:
    return DataDirectoryError(
        f"{path}: {error.strerror}; nothing was changed; check its owner, mode and free space"
    )
