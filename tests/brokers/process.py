"""Brokers as processes of their own, with what they write to stderr kept."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
START_SECONDS = 30.0


@dataclass(frozen=True)
class BrokerProcess:
    """A running broker."""

    process: asyncio.subprocess.Process
    port: int
    ws_port: int | None
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def is_alive(self) -> bool:
        return self.process.returncode is None

    def complaints(self) -> list[str]:
        """What it said that no client should be able to make it say."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if "Traceback" in line or "failed" in line]

    async def kill(self) -> None:
        """End it with SIGKILL."""
        if self.is_alive:
            self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def broker_process(module: str, wanted: Path) -> AsyncIterator[BrokerProcess]:
    """Start ``python -m module wanted``, which prints its port; kill it at the end."""
    log = wanted.with_suffix(".log")
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, str(wanted)),
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            cwd=ROOT,
        )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_SECONDS):
            ports = [int(port) for port in (await process.stdout.readline()).split()]
        assert ports, log.read_text(errors="replace")
        yield BrokerProcess(process, ports[0], ports[1] if ports[1:] else None, log)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def write_wanted(folder: Path, name: str, **wanted: object) -> Path:
    """Write what a broker process is to be told; its data is in ``folder`` too."""
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"data_dir": str(folder / name), **wanted}))
    return path
