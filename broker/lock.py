"""The right to be the one server of a data directory; the kernel takes it back at any end."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from broker.errors import DataDirectoryError, DataDirectoryInUseError

LOCK_FILE: Final = "server.lock"

_PRIVATE_FOLDER: Final = 0o700
_PRIVATE_FILE: Final = 0o600
_TRIES: Final = 5
"""A look by ``holder_of`` takes microseconds; whoever starts meanwhile tries again."""
_TRY_AGAIN_SECONDS: Final = 0.05
_PID_BYTES: Final = 20


@contextmanager
def hold(data_dir: Path) -> Iterator[None]:
    """Be the one server of ``data_dir``, which is made if it is missing, until the context ends.

    Raises:
        DataDirectoryInUseError: Another process is; nothing was changed.
        DataDirectoryError: The folder or the lock file cannot be used.
    """
    descriptor = _open(data_dir)
    try:
        if not _lock(descriptor):
            raise DataDirectoryInUseError(
                f"{data_dir} is in use by {_named(_pid_in(descriptor))}; nothing was changed: end"
                " that server or choose another data directory"
            )
        _write_pid(data_dir, descriptor)
        yield
    finally:
        os.close(descriptor)


def is_known(data_dir: Path) -> bool:
    """Tell whether a server has run on ``data_dir`` before."""
    return (data_dir / LOCK_FILE).exists()


def holder_of(data_dir: Path) -> str | None:
    """Return who runs on ``data_dir`` now, as an operator would name it; None where nobody does.

    Raises:
        DataDirectoryError: The lock file cannot be read.
    """
    try:
        descriptor = os.open(data_dir / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(data_dir, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _named(_pid_in(descriptor))
    finally:
        os.close(descriptor)
    return None


def _open(data_dir: Path) -> int:
    try:
        data_dir.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(data_dir / LOCK_FILE, flags, _PRIVATE_FILE)
    except OSError as error:
        raise _unusable(data_dir, error) from error


def _lock(descriptor: int) -> bool:
    for left in reversed(range(_TRIES)):
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        if left:
            time.sleep(_TRY_AGAIN_SECONDS)
    return False


def _write_pid(data_dir: Path, descriptor: int) -> None:
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:
        raise _unusable(data_dir, error) from error


def _pid_in(descriptor: int) -> str:
    return os.pread(descriptor, _PID_BYTES, 0).decode("ascii", "replace").strip()


def _named(pid: str) -> str:
    return f"process {pid}" if pid.isdecimal() else "another server"


def _unusable(data_dir: Path, error: OSError) -> DataDirectoryError:
    return DataDirectoryError(
        f"cannot use the data directory {data_dir} ({error.strerror}); nothing was started:"
        " choose another one or make this one writable"
    )
