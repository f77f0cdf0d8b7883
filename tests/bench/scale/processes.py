"""Programs of a run: those that say on stdout when they are ready, and Mosquitto."""

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from broker.supervise import MORE_FOLDERS
from tests.bench.brokers.workers import GoneError, opened, running_process
from tests.brokers.other_brokers import free_ports
from tests.e2e.keydir_replicas import open_config

READY_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Running:
    """A program that takes connections."""

    url: str
    pid: int


def ratchetmq(*arguments: object) -> tuple[str, ...]:
    """Return the command line of our program."""
    return (sys.executable, "-m", "broker.cli", *map(str, arguments))


async def ready(process: asyncio.subprocess.Process) -> dict[str, Any]:
    """Return what a program says when it answers.

    Raises:
        GoneError: It ended, or said nothing in ``READY_SECONDS``.
    """
    assert process.stdout is not None
    try:
        async with asyncio.timeout(READY_SECONDS):
            line = await process.stdout.readline()
    except TimeoutError:
        raise GoneError(f"a program was not ready in {READY_SECONDS:.0f} s") from None
    if not line:
        raise GoneError("a program ended at its start; it says why above")
    said: dict[str, Any] = json.loads(line)
    return said


def program(name: str) -> str:
    """Return where a program is.

    Raises:
        GoneError: It is not installed.
    """
    found = shutil.which(name) or shutil.which(name, path=MORE_FOLDERS)
    if found is None:
        raise GoneError(f"{name} is not installed")
    return found


@asynccontextmanager
async def running_mosquitto(folder: Path) -> AsyncIterator[Running]:
    """Run a Mosquitto that lets everybody in, for a directory alone."""
    (port,) = free_ports(1)
    file = folder / "mosquitto.conf"
    file.write_text(open_config(port))
    async with running_process((program("mosquitto"), "-c", str(file)), folder / "log") as process:
        await until_open(port, process)
        yield Running(f"mqtt://127.0.0.1:{port}", process.pid)


async def until_open(port: int, process: asyncio.subprocess.Process) -> None:
    """Return when a port takes connections.

    Raises:
        GoneError: The process ended, or it took too long.
    """
    try:
        async with asyncio.timeout(READY_SECONDS):
            if await opened(port, process):
                return
    except TimeoutError:
        raise GoneError(f"nobody listens on port {port}") from None
    raise GoneError(f"a program ended before it listened on port {port}")
