"""What the broker uses of sqlite3, over apsw: a connection whose files lie on a ``PowerDisk``."""

import itertools
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import apsw

from tests.brokers.power_disk import PowerDisk, PowerVfs

_numbers = itertools.count()


class ApswDatabase:
    """One connection; failures of apsw are ``sqlite3.Error``."""

    def __init__(self, disk: PowerDisk, path: Path, *, synchronous: str) -> None:
        name = f"power-{next(_numbers)}"
        self._vfs = PowerVfs(name, disk)
        self._synchronous = synchronous
        with _as_sqlite3():
            self._connection = apsw.Connection(str(path), vfs=name)
            # Before the first read: the disk has no shared memory for the index of a WAL.
            list(self._connection.execute("PRAGMA locking_mode = EXCLUSIVE"))

    @property
    def in_transaction(self) -> bool:
        return bool(self._connection.in_transaction)

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Iterator[tuple[Any, ...]]:
        if sql == "PRAGMA synchronous = FULL":
            sql = f"PRAGMA synchronous = {self._synchronous}"
        with _as_sqlite3():
            return iter(list(self._connection.execute(sql, tuple(parameters))))

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> None:
        with _as_sqlite3():
            list(self._connection.executemany(sql, [tuple(row) for row in rows]))

    def close(self) -> None:
        # sqlite3 tells nothing of a checkpoint that fails at the end; apsw does.
        with suppress(apsw.Error):
            self._connection.close()


@contextmanager
def _as_sqlite3() -> Iterator[None]:
    try:
        yield
    except apsw.Error as error:
        raise sqlite3.OperationalError(str(error)) from error
