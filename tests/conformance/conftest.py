"""A fresh broker for each test: ours, or Mosquitto to try the tests themselves on.

``RATCHETMQ_CONFORMANCE=mosquitto`` runs the suite on Mosquitto, which keeps to the standard on
its own account: a test that fails there is more likely wrong than Mosquitto is.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from broker.settings import BrokerSettings
from tests.conformance.client import Client, Clients
from tests.conformance.open_auth import open_embedded
from tests.conformance.packets import Hello
from tests.conftest import RequireProgram

ON_MOSQUITTO = os.environ.get("RATCHETMQ_CONFORMANCE") == "mosquitto"


@asynccontextmanager
async def _ours(folder: Path) -> AsyncIterator[int]:
    broker = open_embedded(BrokerSettings(port=0, data_dir=folder))
    await broker.start()
    try:
        yield broker.port
    finally:
        await broker.stop()


@asynccontextmanager
async def _mosquitto(program: str, folder: Path) -> AsyncIterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    rules = "topic readwrite #\ntopic deny forbidden/#\ntopic readwrite $test/#\n"
    (folder / "acl").write_text(rules)
    (folder / "conf").write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nacl_file {folder}/acl\nuser root\n"
    )
    process = await asyncio.create_subprocess_exec(
        program, "-c", str(folder / "conf"), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(5):
            while True:
                try:
                    await (await Clients(port).open()).leave()
                    break
                except ConnectionRefusedError:
                    await asyncio.sleep(0.01)
        yield port
    finally:
        process.terminate()
        await process.wait()


@pytest.fixture
def on_mosquitto() -> bool:
    return ON_MOSQUITTO


@pytest.fixture
async def port(tmp_path: Path, require_program: RequireProgram) -> AsyncIterator[int]:
    running: AbstractAsyncContextManager[int] = (
        _mosquitto(require_program("mosquitto"), tmp_path)
        if ON_MOSQUITTO
        else _ours(tmp_path / "broker")
    )
    async with running as number:
        yield number


@pytest.fixture
async def clients(port: int) -> AsyncIterator[Clients]:
    async with Clients(port) as made:
        yield made


@pytest.fixture
async def publisher(clients: Clients) -> Client:
    return await clients.connect(Hello("publisher"))


@pytest.fixture
async def subscriber(clients: Clients) -> Client:
    return await clients.connect(Hello("subscriber"))
