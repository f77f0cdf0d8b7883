"""Another broker as a child: found, started again when it dies, ended with its parent."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from broker.errors import BrokerProgramError
from broker.settings import BrokerSettings
from broker.supervise import find_program
from keydir.data import make_login
from tests.brokers.other_brokers import deployed, made_settings, require_program, running
from tests.brokers.raw_client import RawClient
from tests.e2e.programs import run

PATIENCE_SECONDS = 20.0


async def admitted(settings: BrokerSettings) -> RawClient:
    """Log in as the directory as soon as that works again."""
    login = make_login(settings.data_dir)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                client = await RawClient.open(settings.port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            if await client.connect(login.username, login.username, login.password) == 0:
                return client
            await client.close()


async def test_a_broker_that_is_killed_is_started_again(tmp_path: Path) -> None:
    settings = made_settings("mosquitto", tmp_path / "data")
    (config,) = deployed(settings, tmp_path / "out")
    async with running(settings, config) as child:
        before = child.pid
        assert before is not None
        client = await admitted(settings)
        os.kill(before, signal.SIGKILL)
        assert await client.is_closed()
        await client.close()
        again = await admitted(settings)
        assert child.pid not in {None, before}
        assert child.starts == 2
        await again.close()


@pytest.mark.parametrize("broker", ["mosquitto", "nats"])
async def test_a_broker_ends_with_its_parent(broker: str, tmp_path: Path) -> None:
    settings = made_settings(broker, tmp_path / "data")
    (config,) = deployed(settings, tmp_path / "out")
    async with running(settings, config) as child:
        pid = child.pid
        assert pid is not None
    assert child.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("broker", ["mosquitto", "nats"])
def test_a_program_that_is_not_installed_is_named_and_nothing_is_made(
    broker: str, tmp_path: Path
) -> None:
    data, missing = tmp_path / "data", tmp_path / "missing"
    file = tmp_path / "settings.toml"
    file.write_text(f'data_dir = "{data}"\nbroker_program = "{missing}"\n')
    ended = run("serve", "--broker", broker, "--config", str(file))
    assert ended.code == 1
    assert f"{missing} is not installed; nothing was started" in ended.err
    assert not data.exists()


@pytest.mark.parametrize(
    ("version", "taken"), [("2.12.5", False), ("2.12.6", True), ("2.15.1", True)]
)
async def test_a_server_that_lets_sessions_be_taken_is_too_old(
    version: str, taken: bool, tmp_path: Path
) -> None:
    program = tmp_path / "nats-server"
    program.write_text(f"#!/bin/sh\necho nats-server: v{version}\n")
    program.chmod(0o700)
    settings = made_settings("nats", tmp_path / "data", broker_program=program)
    if taken:
        assert await find_program(settings) == program
    else:
        with pytest.raises(BrokerProgramError, match=r"2\.12\.6"):
            await find_program(settings)


@pytest.mark.parametrize("broker", ["mosquitto", "nats"])
async def test_the_programs_of_the_tests_are_new_enough(broker: str, tmp_path: Path) -> None:
    program = require_program(broker)
    settings = made_settings(broker, tmp_path / "data", broker_program=program)
    assert await find_program(settings) == program
