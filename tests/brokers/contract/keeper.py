"""`ratchetmq accounts` beside the brokers of the suite, in a thread."""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from broker.serve_other import run_accounts
from broker.settings import BrokerSettings
from tests.brokers.contract.under_test import START_SECONDS


class Keeper:
    """Keeps the logins of each machine; a process of its own would take a second to start."""

    def __init__(self, machines: Sequence[tuple[BrokerSettings, Path]]) -> None:
        self._machines = machines
        self._told = threading.Event()
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._running: Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop
        self._task: asyncio.Task[None]

    def start(self) -> None:
        """Return when all brokers know all logins; do nothing where it runs."""
        if self._running is None:
            self._running = self._thread.submit(asyncio.run, self._keep())
            self._running.add_done_callback(lambda _: self._told.set())
        assert self._told.wait(START_SECONDS), "the broker was not told its logins"
        assert not self._running.done(), self._running.exception()

    def stop(self) -> None:
        """End it; raises what it failed with."""
        if self._running is not None:
            if not self._running.done():
                self._loop.call_soon_threadsafe(self._task.cancel)
            self._running.result(START_SECONDS)
        self._thread.shutdown()

    async def _keep(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._keep_all())
        with suppress(asyncio.CancelledError):
            await self._task

    async def _keep_all(self) -> None:
        async with asyncio.TaskGroup() as group:
            told = [asyncio.Event() for _ in self._machines]
            for (settings, out), one in zip(self._machines, told, strict=True):
                group.create_task(run_accounts(settings, out, one))
            for one in told:
                await one.wait()
            self._told.set()
