"""Which process holds a store's one connection."""

import fcntl
import os
from pathlib import Path
from typing import Final

from client_sdk.stores.errors import StoreMissingError

LOCK_MODE: Final = 0o600


class ConnectionLease:
    """An advisory file lock beside the store; gone with the process, also after kill -9."""

    def __init__(self, store: Path | None) -> None:
        """Prepare the lease of a store; a store in memory needs none."""
        self._path = None if store is None else Path(f"{store}.lock")
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Take the lease; False where another process holds it.

        Raises:
            StoreMissingError: The lock file cannot be made.
        """
        if self._path is None or self._descriptor is not None:
            return True
        try:
            descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR, LOCK_MODE)
        except OSError as error:
            raise StoreMissingError(
                f"cannot write {self._path}: {error.strerror}; nothing was changed"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    @property
    def held(self) -> bool:
        """Whether this process holds it."""
        return self._path is None or self._descriptor is not None

    def release(self) -> None:
        """Give it back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
