"""What a running directory does with its database of its own accord."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from client_sdk.wire.bundle import DAY_MS
from client_sdk.wire.ids import DeviceAddress
from keydir.desk import steady_ms, wall_ms
from keydir.ports import DirectoryStore, Transaction
from keydir.replicas import Replicas
from keydir.rules import ANSWER_LIFETIME_MS

FORGET_INTERVAL_MS: Final = 30_000
"""How often old answers and full buckets are deleted; each is out of use long before."""

Result = TypeVar("Result")


class Rounds:
    """The sweep's records, the sign of life and what is forgotten; each is one transaction."""

    def __init__(self, store: DirectoryStore, replicas: Replicas, name: str) -> None:
        """Use the directory's store, under the name of this replica."""
        self._store = store
        self._replicas = replicas
        self._name = name
        self._forget_at = 0
        self._left = False

    async def unswept(self) -> Sequence[DeviceAddress]:
        """Return revoked devices that are due for a sweep, and fall to this replica."""
        before = wall_ms() - DAY_MS
        due = await self._transact(lambda transaction: transaction.accounts.unswept(before))
        return [address for address in due if self._replicas.is_first(address)]

    async def note_sweep(self, addresses: Sequence[DeviceAddress]) -> None:
        """Record that nothing of these devices is left."""

        def note(transaction: Transaction) -> None:
            for address in addresses:
                transaction.accounts.note_sweep(address, wall_ms())

        await self._transact(note)

    async def beat(self, now: int) -> None:
        """Count on, and look who else does.

        Args:
            now: Milliseconds of a clock that never goes back.
        """
        if self._left:
            return

        def count(transaction: Transaction) -> None:
            beats = transaction.replicas.beats()
            transaction.replicas.beat(self._name, wall_ms())
            for gone in self._replicas.look(beats, now):
                transaction.replicas.leave(gone)

        await self._transact(count)

    async def leave(self) -> None:
        """Do not count on any more, and say so."""
        self._left = True
        await self._transact(lambda transaction: transaction.replicas.leave(self._name))

    async def forget_old(self) -> None:
        """Delete answers that nobody repeats any more, and buckets that are full."""
        if steady_ms() < self._forget_at:
            return
        self._forget_at = steady_ms() + FORGET_INTERVAL_MS

        def forget(transaction: Transaction) -> None:
            transaction.answers.forget_before(wall_ms() - ANSWER_LIFETIME_MS)
            transaction.buckets.forget_full(wall_ms())

        await self._transact(forget)

    async def _transact(self, step: Callable[[Transaction], Result]) -> Result:
        def work() -> Result:
            with self._store.transaction() as transaction:
                return step(transaction)

        return await asyncio.wrap_future(self._store.submit(work))
