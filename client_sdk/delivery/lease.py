"""Which process holds a store's one connection."""

import fcntl
import logging
import os
from pathlib import Path
from typing import Final

from client_sdk.stores.errors import StoreMissingError
from client_sdk.stores.file_locks import first_bytes

LOCK_MODE: Final = 0o600
SALT_BYTES: Final = 16
MAX_NOTE_BYTES: Final = 64

_logger = logging.getLogger(__name__)


class ConnectionLease:
    """An advisory file lock beside the store; gone with the process, also after kill -9."""

    def __init__(self, store: Path | None) -> None:
        """Prepare the lease of a store; a store in memory needs none."""
        self._store = store
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

    def noted_opens(self) -> int:
        """Return which opening of this store the lock file tells of; 0 where it tells of none.

        The file stays behind where only the store was restored from a backup.
        """
        if self._store is None or self._descriptor is None:
            return 0
        text = os.pread(self._descriptor, MAX_NOTE_BYTES, 0)
        salt, _, number = text.partition(b" ")
        if salt != self._salt(self._store) or not number.rstrip(b"\n").isdigit():
            return 0  # of another store that lay here before, or torn
        return int(number)

    def note_opens(self, opens: int) -> None:
        """Write down which opening this is; once an opening, not once a commit."""
        if self._store is None or self._descriptor is None:
            return
        text = self._salt(self._store) + b" %d\n" % opens
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, text, 0)
            os.fsync(self._descriptor)
        except OSError as error:  # the directory's counters notice a rollback without it
            _logger.warning("the lock file cannot be written: %s", error.strerror)

    @staticmethod
    def _salt(store: Path) -> bytes:
        return first_bytes(store, SALT_BYTES).hex().encode()

    def release(self) -> None:
        """Give it back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
