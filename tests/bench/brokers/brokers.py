"""The brokers that are compared: how each is started, with the same logins and rights."""

import asyncio
import json
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.brokers import mosquitto, nats
from tests.bench.brokers.workers import GoneError, opened, running_process
from tests.bench.rows import NS_PER_S

START_SECONDS: Final = 30.0
TITLES: Final = {
    "ours": "RatchetMQ (durable)",
    "amqtt": "amqtt, auth only",
    "amqtt-acl": "amqtt, auth + ACL",
    "mosquitto": "Mosquitto",
    "nats": "NATS",
    "nats-always": "NATS, sync always",
}
WAITING_FOR: Final = ("ours", "amqtt", "mosquitto", "nats")
"""Without the variants, which differ in what a publish costs and not in what waiting mail does."""


@dataclass(frozen=True, slots=True)
class Broker:
    """A running broker.

    Attributes:
        name: A key of ``TITLES``.
        port: Of MQTT on the loopback interface.
        pid: Of its process, for its memory.
    """

    name: str
    port: int
    pid: int

    def at(self, login: str) -> str:
        """Return the name of a connection to it."""
        return f"{self.port}/{login}"

    def resident_mb(self) -> float:
        """Return the memory of the process that is in RAM."""
        return _status_kb(self.pid, "VmRSS") / 1024

    def cpu_seconds(self) -> float:
        """Return the processor time that its threads have used."""
        threads = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        names = [f"task/{thread.parent.name}/schedstat" for thread in threads]
        return sum(int(_proc(self.pid, name).split()[0]) for name in names) / NS_PER_S


def why_missing(name: str, nats_server: Path | None) -> str | None:
    """Return why a broker cannot be run here, None where it can."""
    if name == "mosquitto" and _mosquitto() is None:
        return "the program mosquitto is not installed (Debian: mosquitto)"
    if name.startswith("nats") and nats_server is None:
        return "nats-server was not installed"
    return None


@asynccontextmanager
async def running(
    name: str, folder: Path, secrets: dict[str, str], nats_server: Path | None
) -> AsyncIterator[Broker]:
    """Run a broker with its data in a new ``folder``; GoneError where it does not start."""
    command, port = _command(name, folder, secrets, nats_server)
    async with running_process(command, folder / "log") as process:
        try:
            async with asyncio.timeout(START_SECONDS):
                if port == 0:
                    assert process.stdout is not None
                    port = int(await process.stdout.readline())
                ready = await opened(port, process)
        except (TimeoutError, ValueError):
            ready = False
        if not ready:
            raise GoneError(f"{name} did not start: {_last_line(folder / 'log')}")
        yield Broker(name, port, process.pid)


def _command(
    name: str, folder: Path, secrets: dict[str, str], nats_server: Path | None
) -> tuple[list[str], int]:
    """Return the command, and the port where it does not choose one itself."""
    folder.mkdir(parents=True)
    if name == "mosquitto":
        port = _free_port()
        return [str(_mosquitto()), "-c", str(mosquitto.configure(folder, port, secrets))], port
    if name.startswith("nats"):
        port = _free_port()
        always = name == "nats-always"
        config = nats.configure(folder, port, secrets, always=always)
        return [str(nats_server), "-c", str(config)], port
    wanted = {"kind": name, "data_dir": str(folder / "data"), "secrets": secrets}
    (folder / "wanted.json").write_text(json.dumps(wanted))
    module = "tests.bench.brokers.broker_process"
    return [sys.executable, "-m", module, str(folder / "wanted.json")], 0


def _mosquitto() -> str | None:
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "it said nothing"


def _status_kb(pid: int, name: str) -> int:
    for line in _proc(pid, "status").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise GoneError("the broker's process ended")


def _proc(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError:
        raise GoneError("the broker's process ended") from None
