"""Deployments of Mosquitto and NATS as `ratchetmq config` writes them, run as real processes."""

import asyncio
import os
import random
import secrets
import shutil
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest

from broker.generate.deploy import write_deployment
from broker.settings import BrokerSettings
from broker.supervise import MORE_FOLDERS, ChildBroker
from tests.brokers.contract.nats_server import require_nats_server
from tests.conftest import IN_CI

START_SECONDS = 60.0
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 6
PORTS = range(20_000 + 2_000 * WORKER, 22_000 + 2_000 * WORKER)
"""Below those that systems give to connections: no connection takes a broker's while it is away.
Each worker of the tests has its own: between the choice and the start of a broker none holds it."""


def require_program(broker: str) -> Path:
    """Return the program of a broker; without it the test fails in CI and is skipped elsewhere."""
    if broker == "nats":
        return require_nats_server()
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path=MORE_FOLDERS)
    if found is None and IN_CI:
        pytest.fail("mosquitto is not installed; under CI=true nothing is skipped", pytrace=False)
    if found is None:
        pytest.skip("mosquitto is not installed")
    return Path(found)


def free_ports(count: int) -> list[int]:
    """Return ports that are free now: these brokers cannot choose one themselves."""
    found: list[int] = []
    with ExitStack() as stack:
        for port in random.SystemRandom().sample(PORTS, len(PORTS)):
            if len(found) == count:
                break
            with suppress(OSError):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
                found.append(port)
    return found


def made_settings(broker: str, data: Path, **more: object) -> BrokerSettings:
    port, nats_port = free_ports(2)
    ports = {"port": port, "nats_port": nats_port}
    return BrokerSettings.model_validate({"data_dir": data, "broker": broker, **ports, **more})


@asynccontextmanager
async def running(
    settings: BrokerSettings, config: Path, program: Path | None = None
) -> AsyncIterator[ChildBroker]:
    """Run a broker on a configuration; it is ended and gone afterwards."""
    found = program or require_program(settings.broker)
    child = ChildBroker(found, config, settings.host, settings.port)
    task = asyncio.create_task(child.run())
    try:
        async with asyncio.timeout(START_SECONDS):
            opened = asyncio.create_task(child.answering.wait())
            await asyncio.wait({task, opened}, return_when=asyncio.FIRST_COMPLETED)
            opened.cancel()
        if task.done():
            await task
        yield child
    finally:
        task.cancel()
        await asyncio.wait({task})


def deployed(settings: BrokerSettings, out: Path) -> Sequence[Path]:
    """Write a deployment beside its data."""
    return write_deployment(settings, out)


def new_secret() -> str:
    return secrets.token_urlsafe(32)
