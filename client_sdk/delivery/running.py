"""The engine as a task of the app's own event loop: started, watched, ended."""

import asyncio
from contextlib import suppress
from typing import Final

from client_sdk.delivery.bell import wait_for
from client_sdk.delivery.context import Context
from client_sdk.delivery.engine import Engine
from client_sdk.ending import end
from client_sdk.stores.errors import StoreError
from client_sdk.wire.errors import MisuseError

CLOSE_SECONDS: Final = 3.0
"""How long closing waits for receipts and clears to leave."""

REPORT_PATIENCE_SECONDS: Final = 0.5
"""How long of this the directory may take to answer the last report of an opening."""


class ClosedError(MisuseError):
    """A closed messenger was used."""

    code = "closed"


class Running:
    """A running engine; its failure is raised to whoever asks next."""

    def __init__(self, context: Context, engine: Engine, *, start: bool) -> None:
        """Start it in the running event loop, or leave it at rest."""
        self.engine = engine
        self._context = context
        self._closed = False
        work = engine.run() if start else asyncio.Event().wait()
        self._task: asyncio.Task[object] = asyncio.create_task(work, name="ratchetmq engine")
        self._task.add_done_callback(lambda _: context.changed_bell.ring())

    def check(self) -> None:
        """Raise what ended the engine, if anything did.

        Raises:
            OperationalError: The storage failed; open the messenger again when it is mended.
            ClosedError: The messenger was closed.
        """
        if self._closed:
            raise ClosedError("the messenger is closed; open it again")
        if not self._task.done() or self._task.cancelled():
            return
        error = self._task.exception()
        if error is not None:
            raise first_error(error)

    async def close(self) -> None:
        """Send what is owed if there is a connection, then end the engine."""
        try:
            if self.engine.connected and not self._task.done():
                with suppress(TimeoutError):
                    async with asyncio.timeout(CLOSE_SECONDS):
                        await self._settle()
        finally:  # whatever the store says: nothing runs on when it is closed
            self._closed = True
            await end(self._task)

    async def _settle(self) -> None:
        await self.engine.receipts.flush()
        with suppress(StoreError):  # a full disk; the next opening is compared all the same
            await self.engine.guard.report(REPORT_PATIENCE_SECONDS)
        while self.engine.connected and not self._task.done():
            ticket = self._context.changed_bell.ticket()
            if self.engine.clears_done and not await self.engine.anything_due():
                return
            await wait_for(ticket, 0.05)


def first_error(error: BaseException) -> BaseException:
    """Return the first error of a group, or the error itself."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
