"""A device's store as one SQLCipher file, or in memory for tests and passing devices."""

import os
from pathlib import Path
from typing import Final, Self

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from sqlcipher3 import dbapi2 as sqlcipher

from client_sdk.stores.errors import (
    PassphraseNeededError,
    StorageFullError,
    StoreLockedError,
    StoreMissingError,
    StoreTooNewError,
)
from client_sdk.stores.file_locks import first_bytes, hold, release
from client_sdk.stores.queries import StoreQueries
from client_sdk.stores.schema import MIGRATIONS, SCHEMA_VERSION
from client_sdk.stores.worker import Database, DatabaseWorker, store_error

SALT_BYTES: Final = 16
KEY_BYTES: Final = 32
ARGON2_MEMORY_KIB: Final = 64 * 1024
ARGON2_ITERATIONS: Final = 3
ARGON2_LANES: Final = 4
BUSY_TIMEOUT_MS: Final = 10_000
FILE_MODE: Final = 0o600

_PRAGMAS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = ON",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA foreign_keys = ON",
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}",
)


class SqliteStore(StoreQueries):
    """The durable store: SQLCipher 4, write-ahead log, every commit on disk when it returns."""

    @classmethod
    def create(cls, path: Path, passphrase: str | None) -> Self:
        """Make a new store with mode 0600.

        Raises:
            StoreMissingError: The file exists, or the folder cannot be written.
            StorageFullError: There is no space; nothing is left behind.
        """
        salt = os.urandom(SALT_BYTES)
        new = Path(f"{path}.{salt.hex()[:8]}.new")
        try:
            if path.exists() and path.stat().st_size:
                raise StoreMissingError(f"{path} exists already; nothing was changed")
            os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR, FILE_MODE))
        except OSError as error:
            raise StoreMissingError(
                f"cannot make a store at {path}: {error.strerror}; nothing was changed"
            ) from error
        had_key = has_key(path)
        try:
            key = _key(path, passphrase, salt, new=not had_key)
            database = _connect(new, key, salt)
            try:
                _migrate(database, new)
            finally:
                database.close()  # the last connection leaves no write-ahead log behind
            new.replace(path)  # whole or not at all: a crash leaves no half-made store
        except BaseException:
            remove_store(new, with_key=False)
            if not had_key:
                key_file(path).unlink(missing_ok=True)
            raise
        return cls(_worker(path, key, salt))

    @classmethod
    def open(cls, path: Path, passphrase: str | None) -> Self:
        """Open a store and bring its tables up to date.

        Raises:
            StoreMissingError: There is none.
            StoreLockedError: The passphrase is wrong or the file is no store.
            StoreTooNewError: A newer version wrote it.
        """
        salt = _salt(path)
        return cls(_worker(path, _key(path, passphrase, salt, new=False), salt))

    @classmethod
    def in_memory(cls) -> Self:
        """Return a store that ends with the process."""
        database = _plain_connection(":memory:")
        _migrate(database, Path(":memory:"))
        return cls(DatabaseWorker(database))


def store_exists(path: Path) -> bool:
    """Tell whether there is a file with content at ``path``."""
    return path.is_file() and path.stat().st_size > 0


def remove_store(path: Path, *, with_key: bool) -> None:
    """Delete a store that was made by a call that then failed.

    Args:
        path: The store.
        with_key: Its key file too; only where that call made it.
    """
    for suffix in ("", "-wal", "-shm", ".lock", *((".key",) if with_key else ())):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def key_file(path: Path) -> Path:
    """Return where the key of a store without a passphrase lies."""
    return Path(f"{path}.key")


def has_key(path: Path) -> bool:
    """Tell whether a whole key file lies there; it may open a moved store: it is never replaced."""
    file = key_file(path)
    return file.is_file() and file.stat().st_size == KEY_BYTES


def _salt(path: Path) -> bytes:
    try:
        salt = first_bytes(path, SALT_BYTES)
    except FileNotFoundError as error:
        raise StoreMissingError(f"there is no store at {path}; enroll first") from error
    except OSError as error:
        raise StoreMissingError(f"cannot read {path}: {error.strerror}") from error
    if len(salt) < SALT_BYTES:
        raise StoreLockedError(f"{path} is not a store; nothing was changed")
    return salt


def _key(path: Path, passphrase: str | None, salt: bytes, *, new: bool) -> bytes:
    if passphrase is not None:
        return Argon2id(
            salt=salt,
            length=KEY_BYTES,
            iterations=ARGON2_ITERATIONS,
            lanes=ARGON2_LANES,
            memory_cost=ARGON2_MEMORY_KIB,
        ).derive(passphrase.encode())
    if new:
        return _make_key_file(path)
    try:
        key = key_file(path).read_bytes()
    except FileNotFoundError as error:
        raise PassphraseNeededError(
            f"{path} needs its passphrase (or its key file {key_file(path).name})"
        ) from error
    except OSError as error:
        raise StoreLockedError(f"cannot read {key_file(path)}: {error.strerror}") from error
    if len(key) != KEY_BYTES:
        raise StoreLockedError(f"{key_file(path)} is damaged: {len(key)} bytes, not {KEY_BYTES}")
    return key


def _make_key_file(path: Path) -> bytes:
    key = os.urandom(KEY_BYTES)
    new = Path(f"{key_file(path)}.new")
    try:
        descriptor = os.open(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, FILE_MODE)
        try:
            os.write(descriptor, key)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        new.replace(key_file(path))
    except OSError as error:
        new.unlink(missing_ok=True)
        raise StorageFullError(f"cannot write {key_file(path)}: {error.strerror}") from error
    return key


def _worker(path: Path, key: bytes, salt: bytes) -> DatabaseWorker:
    held = hold(path, salt)
    try:
        database = _connect(path, key, salt)
        try:
            _migrate(database, path)
        except BaseException:
            database.close()
            raise
    except BaseException:
        release(held)
        raise
    return DatabaseWorker(database, closed=lambda: release(held))


def _connect(path: Path, key: bytes, salt: bytes) -> Database:
    try:
        database = _plain_connection(str(path))
    except sqlcipher.Error as error:
        raise store_error(error) from error
    try:
        database.execute(f"PRAGMA key = \"x'{key.hex()}{salt.hex()}'\"")
        database.execute("SELECT count(*) FROM sqlite_master").fetchall()
        for pragma in _PRAGMAS:
            database.execute(pragma).fetchall()
    except sqlcipher.DatabaseError as error:
        database.close()
        if "not a database" in str(error):
            raise StoreLockedError(
                f"cannot open {path}: the passphrase is wrong or the file is not a store; "
                "nothing was changed"
            ) from None
        raise store_error(error) from error
    return database


def _plain_connection(path: str) -> Database:
    database: Database = sqlcipher.connect(
        path, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None, check_same_thread=False
    )
    # SQLCipher writes a wrong passphrase to stderr by itself; the error that is raised says it.
    database.execute("PRAGMA cipher_log_level = NONE").fetchall()
    return database


def _migrate(database: Database, path: Path) -> None:
    try:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise StoreTooNewError(
                f"{path} was written by a newer version (schema {version}, this one knows "
                f"{SCHEMA_VERSION}); update ratchetmq; nothing was changed"
            )
        for number in range(version, SCHEMA_VERSION):
            database.executescript(
                f"BEGIN IMMEDIATE; {MIGRATIONS[number]}; PRAGMA user_version = {number + 1};"
                " COMMIT;"
            )
    except sqlcipher.Error as error:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise store_error(error) from error
