"""Enrolled devices in pairs, and the processes that they run in."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, Final

from keydir.commands import Invite, invite
from keydir.config import DirectorySettings
from tests.bench.brokers.workers import WorkerProcess, running_process

MAX_PROCESSES: Final = 4
CHUNK: Final = 10
"""Devices of one command: each command is answered in a bounded time, and tells of progress."""

READY: Final = "met"
"""Holds how many devices of a kept folder are enrolled and know their partners."""


def role_of(number: int) -> str:
    return "patient" if number % 2 else "doctor"


@dataclass
class Fleet:
    """Processes of ``tests.bench.scale.client``; device n is in process n modulo their number.

    So the two of a pair, n and n + 1, are in different processes.
    """

    folder: Path
    processes: Sequence[WorkerProcess]

    async def prepare(self, count: int, urls: Sequence[str]) -> None:
        """Invite and enrol devices on the server that runs on the folder; have each pair meet."""
        settings = DirectorySettings(data_dir=self.folder / "server")

        def invited(number: int) -> dict[str, object]:
            return {
                "invitation": invite(settings, Invite(f"c{number}", role_of(number))).invitation
            }

        for chunk in self._chunks(range(count)):
            await self._each("enroll", chunk, invited)
            await self.meet(chunk, urls)
            print(f"  enrolled {chunk[-1] + 1} of {count}", flush=True)

    async def meet(self, numbers: range, urls: Sequence[str]) -> None:
        """Have each of some devices write to its partner, and leave again."""
        await self.open(numbers, urls)
        await self.all("meet")
        await self.all("drain")
        await self.all("close")

    async def open(self, numbers: range, urls: Sequence[str]) -> None:
        """Connect devices, spread over the addresses."""
        where = dict(zip(numbers, cycle(urls), strict=False))
        for chunk in self._chunks(numbers):
            await self._each(
                "open",
                chunk,
                lambda number: {"url": where[number], "partner": f"c{number ^ 1}"},
            )

    async def all(self, do: str, **facts: object) -> list[Any]:
        """Return what each process found."""
        answers = await asyncio.gather(*(one.ask(do, **facts) for one in self.processes))
        return [answer["found"] for answer in answers]

    def _chunks(self, numbers: range) -> list[range]:
        step = CHUNK * len(self.processes)
        return [numbers[first : first + step] for first in range(0, len(numbers), step)]

    async def _each(self, do: str, chunk: range, facts: Any) -> None:
        count = len(self.processes)
        devices: list[list[dict[str, object]]] = [[] for _ in range(count)]
        for number in chunk:
            store = str(self.folder / f"c{number}.db")
            devices[number % count].append({"store": store, **facts(number)})
        await asyncio.gather(
            *(
                process.ask(do, devices=some)
                for process, some in zip(self.processes, devices, strict=True)
                if some
            )
        )


@asynccontextmanager
async def running_fleet(folder: Path, clients: int) -> AsyncIterator[Fleet]:
    """Run the processes for so many clients; nothing is connected yet."""
    command = (sys.executable, "-m", "tests.bench.scale.client")
    async with AsyncExitStack() as stack:
        processes = [
            await stack.enter_async_context(running_process(command))
            for _ in range(min(MAX_PROCESSES, clients))
        ]
        yield Fleet(folder, [WorkerProcess(process) for process in processes])


def known(folder: Path) -> int:
    """Return how many devices an earlier run has left ready."""
    file = folder / READY
    return int(json.loads(file.read_text())) if file.exists() else 0


def note_known(folder: Path, count: int) -> None:
    """Note how many devices are ready."""
    (folder / READY).write_text(json.dumps(count))
