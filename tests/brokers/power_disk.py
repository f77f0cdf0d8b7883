"""A disk in memory for SQLite that keeps only what was synced when its power is lost.

What was written since the last xSync of a file is there for reading, as in the cache of a system.
At a power loss each 512-byte sector of each such write is kept or dropped by a draw of its own. A
sync that fails has lost what it was to write: syncing again does not bring it to the disk.
"""

import random
import threading
from dataclasses import dataclass, field
from typing import Any

import apsw

SECTOR = 512
_SECTOR_SIZE_TOLD = 4096
_POWERSAFE_OVERWRITE = 0x1000
_IO_ERROR = "the disk does not sync"


@dataclass(frozen=True)
class _Write:
    """Bytes at an offset, or an end of the file where there are none."""

    offset: int
    data: bytes | None


@dataclass
class _Content:
    cached: bytearray = field(default_factory=bytearray)
    synced: bytearray = field(default_factory=bytearray)
    unsynced: list[_Write] = field(default_factory=list)
    is_synced_once: bool = False

    def write(self, change: _Write) -> None:
        _apply(self.cached, change)
        self.unsynced.append(change)

    def sync(self) -> None:
        for change in self.unsynced:
            _apply(self.synced, change)
        self.unsynced.clear()
        self.is_synced_once = True

    def after_power_loss(self, draw: random.Random) -> bytearray:
        left, share = bytearray(self.synced), draw.choice((0.0, 0.5, 0.9, 1.0))
        for change in self.unsynced:
            for part in _sectors(change):
                if draw.random() < share:
                    _apply(left, part)
        return left


class PowerDisk:
    """Files by name; one SQLite connection at a time."""

    def __init__(self, files: dict[str, bytearray] | None = None) -> None:
        self.sync_fails = False
        self.fails_every = 0
        """Every so many syncs one fails; 0 for none."""
        self.syncs = 0
        self.failed_syncs = 0
        self._lock = threading.Lock()
        self._files = {
            name: _Content(bytearray(data), bytearray(data), is_synced_once=True)
            for name, data in (files or {}).items()
        }

    def after_power_loss(self, seed: int) -> "PowerDisk":
        """Return what is found when the power is back, had it gone at this moment."""
        draw = random.Random(seed)
        with self._lock:
            return PowerDisk(
                {
                    name: content.after_power_loss(draw)
                    for name, content in self._files.items()
                    if content.is_synced_once or draw.random() < 0.5
                }
            )

    def has(self, name: str) -> bool:
        with self._lock:
            return name in self._files

    def delete(self, name: str) -> None:
        with self._lock:
            self._files.pop(name, None)

    def read(self, name: str, offset: int, amount: int) -> bytes:
        with self._lock:
            return bytes(self._files[name].cached[offset : offset + amount])

    def size(self, name: str) -> int:
        with self._lock:
            return len(self._files[name].cached)

    def write(self, name: str, offset: int, data: bytes | None) -> None:
        with self._lock:
            self._files.setdefault(name, _Content()).write(_Write(offset, data))

    def sync(self, name: str) -> None:
        with self._lock:
            turn = self.syncs + self.failed_syncs + 1
            if self.sync_fails or (self.fails_every and turn % self.fails_every == 0):
                self.failed_syncs += 1
                self._files[name].unsynced.clear()
                raise apsw.IOError(_IO_ERROR)
            self._files[name].sync()
            self.syncs += 1


class PowerVfs(apsw.VFS):  # type: ignore[misc,name-defined]
    """Gives SQLite the files of one disk; unregistered by ``unregister``."""

    def __init__(self, name: str, disk: PowerDisk) -> None:
        super().__init__(name, "")
        self._disk = disk

    def xOpen(self, name: Any, flags: list[int]) -> "_File":  # noqa: N802
        path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        if not self._disk.has(path):
            self._disk.write(path, 0, None)
        flags[1] = flags[0]
        return _File(self._disk, path)

    def xAccess(self, pathname: str, _flags: int) -> bool:  # noqa: N802
        return self._disk.has(pathname)

    def xDelete(self, filename: str, _syncdir: bool) -> None:  # noqa: N802
        self._disk.delete(filename)


class _File:
    def __init__(self, disk: PowerDisk, name: str) -> None:
        self._disk = disk
        self._name = name

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        return self._disk.read(self._name, offset, amount)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._disk.write(self._name, offset, bytes(data))

    def xTruncate(self, size: int) -> None:  # noqa: N802
        self._disk.write(self._name, size, None)

    def xSync(self, _flags: int) -> None:  # noqa: N802
        self._disk.sync(self._name)

    def xFileSize(self) -> int:  # noqa: N802
        return self._disk.size(self._name)

    def xClose(self) -> None:  # noqa: N802
        """Leave the file on the disk."""

    def xLock(self, level: int) -> None:  # noqa: N802
        """Do nothing: there is one connection."""

    def xUnlock(self, level: int) -> None:  # noqa: N802
        """Do nothing: there is one connection."""

    def xCheckReservedLock(self) -> bool:  # noqa: N802
        return False

    def xFileControl(self, _op: int, _pointer: int) -> bool:  # noqa: N802
        return False

    def xSectorSize(self) -> int:  # noqa: N802
        return _SECTOR_SIZE_TOLD

    def xDeviceCharacteristics(self) -> int:  # noqa: N802
        return _POWERSAFE_OVERWRITE


def _apply(data: bytearray, change: _Write) -> None:
    if change.data is None:
        del data[change.offset :]
        return
    if len(data) < change.offset:
        data += bytes(change.offset - len(data))
    data[change.offset : change.offset + len(change.data)] = change.data


def _sectors(change: _Write) -> list[_Write]:
    """Return a write in pieces that each lie in one sector."""
    if change.data is None:
        return [change]
    pieces, offset, data = [], change.offset, change.data
    while data:
        room = SECTOR - offset % SECTOR
        pieces.append(_Write(offset, data[:room]))
        offset, data = offset + room, data[room:]
    return pieces
