"""The processes of the load and of the brokers, as the run sees them: started, asked, ended."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[3]
ANSWER_SECONDS: Final = 120.0
"""Every command is bounded by less; past it the process hangs."""
END_SECONDS: Final = 5.0
LINE_BYTES: Final = 1 << 20


class GoneError(Exception):
    """A broker or a client of it ended, hung or refused; the text says which."""


class WorkerProcess:
    """A process of ``tests.bench.brokers.worker``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    async def ask(self, do: str, **facts: object) -> dict[str, Any]:
        """Return the answer to one command; GoneError where there is none or it is an error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **facts}).encode() + b"\n")
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise GoneError(f"{do}: no answer in {ANSWER_SECONDS:.0f} s") from None
        if not line:
            raise GoneError(f"{do}: the load's process ended; its errors are above")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise GoneError(f"{do}: {answer['error']}")
        return answer


@asynccontextmanager
async def running_worker(client: str = "raw") -> AsyncIterator[WorkerProcess]:
    """Run a process of the load."""
    command = (sys.executable, "-m", "tests.bench.brokers.worker", client)
    async with running_process(command) as process:
        yield WorkerProcess(process)


@asynccontextmanager
async def running_process(
    command: Sequence[str], log: Path | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a process in a session of its own, so that Ctrl-C is for us alone, and end it by pid."""
    with (log or Path("/dev/null")).open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors if log else None,
            cwd=ROOT,
            limit=LINE_BYTES,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            process.send_signal(number)
        with suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await process.wait()
                return


async def opened(port: int, process: asyncio.subprocess.Process) -> bool:
    """Wait until a port takes connections; False if the process ended before."""
    while process.returncode is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return True
    return False
