"""How the queries of a store reach its database worker."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from client_sdk.stores.worker import Database, DatabaseWorker

Result = TypeVar("Result")
Row = tuple[Any, ...]


class Statements:
    """Statements on one database worker, each a transaction or a read of its own."""

    _worker: DatabaseWorker

    async def _write(self, run: Callable[[Database], Result], *, relaxed: bool = False) -> Result:
        return await self._worker.write(run, relaxed=relaxed)

    async def _execute(self, sql: str, values: tuple[Any, ...]) -> None:
        def run(database: Database) -> None:
            database.execute(sql, values)

        await self._write(run)

    async def _rows(self, sql: str, values: tuple[Any, ...] = ()) -> list[Row]:
        return await self._worker.read(lambda database: database.execute(sql, values).fetchall())

    async def _each(self, sql: str, keys: Sequence[tuple[Any, ...]]) -> list[Row]:
        def run(database: Database) -> list[Row]:
            found = (database.execute(sql, key).fetchone() for key in keys)
            return [row for row in found if row is not None]

        return await self._worker.read(run)
