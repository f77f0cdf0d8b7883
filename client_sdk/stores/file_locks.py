"""Reading a database file's first bytes without losing the locks on it.

Closing any descriptor of a file drops every POSIX lock that the process has on it, SQLite's
own too. Another process that then closes the database takes itself for the last one and
deletes the write-ahead log under the first. So a file that this process has open is never
opened a second time: its first bytes are remembered.
"""

import threading
from pathlib import Path
from typing import Final

FileId = tuple[int, int]

_guard: Final = threading.Lock()
_open_files: Final[dict[FileId, tuple[int, bytes]]] = {}


def first_bytes(path: Path, count: int) -> bytes:
    """Return up to ``count`` first bytes of a file.

    Raises:
        OSError: It is not there or cannot be read.
    """
    file_id = _file_id(path)
    with _guard:
        held = _open_files.get(file_id)
        if held is not None:
            return held[1][:count]
        with path.open("rb") as file:
            return file.read(count)


def hold(path: Path, head: bytes) -> FileId:
    """Note that this process opens ``path``, which begins with ``head``; ``release`` ends it."""
    file_id = _file_id(path)
    with _guard:
        uses, known = _open_files.get(file_id, (0, head))
        _open_files[file_id] = (uses + 1, known)
    return file_id


def release(file_id: FileId) -> None:
    """Note that a connection of this process was closed."""
    with _guard:
        uses, head = _open_files[file_id]
        if uses == 1:
            del _open_files[file_id]
        else:
            _open_files[file_id] = (uses - 1, head)


def _file_id(path: Path) -> FileId:
    status = path.stat()
    return status.st_dev, status.st_ino
