"""The embedded broker as its host program meets it: start, refusal, stop, restart, kill -9."""

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest

from broker.embedded import EmbeddedBroker
from broker.errors import DataDirectoryError, ListenError, PortInUseError
from broker.mail_file import FILE_NAME
from broker.settings import BrokerSettings
from tests.brokers.memory_credentials import MemoryCredentials
from tests.brokers.names import ALICE, BOB, SECRETS, mail_topic, waiting
from tests.brokers.raw_client import RawClient


async def fill(port: int, count: int) -> None:
    alice = await RawClient.login(port, ALICE)
    for number in range(count):
        assert await alice.publish(mail_topic(number), str(number).encode())
    await alice.disconnect()


async def test_mail_survives_a_clean_restart_and_clears_do_too(
    settings: BrokerSettings, credentials: MemoryCredentials
) -> None:
    first = EmbeddedBroker(settings, credentials)
    await first.start()
    await fill(first.port, 50)
    alice = await RawClient.login(first.port, ALICE)
    await alice.publish(mail_topic(0), b"")
    await first.stop()
    assert await alice.is_closed()
    second = EmbeddedBroker(settings, credentials)
    await second.start()
    assert waiting(second) == {mail_topic(n): str(n).encode() for n in range(1, 50)}
    await second.stop()
    await alice.close()


async def test_mail_survives_kill_nine(tmp_path: Path) -> None:
    wanted = tmp_path / "wanted.json"
    wanted.write_text(json.dumps({"data_dir": str(tmp_path / "broker"), "secrets": SECRETS}))
    port, process = await start_process(wanted)
    await fill(port, 200)
    await wait_for_rows(tmp_path / "broker", process)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    port, process = await start_process(wanted)
    bob = await RawClient.login(port, BOB)
    await bob.subscribe("v1/u/bob-1/in/+/+")
    received = await bob.until(200)
    assert [message.payload for message in received] == [str(n).encode() for n in range(200)]
    await bob.disconnect()
    process.send_signal(signal.SIGKILL)
    await process.wait()


async def start_process(wanted: Path) -> tuple[int, asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.brokers.broker_process", str(wanted)),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    return int(await process.stdout.readline()), process


async def wait_for_rows(folder: Path, process: asyncio.subprocess.Process) -> None:
    """Wait until the write-ahead log of the file stopped growing: the batch is written."""
    log, size = folder / f"{FILE_NAME}-wal", -1
    while log.stat().st_size != size:
        size = log.stat().st_size
        await asyncio.sleep(0.2)
    assert process.returncode is None


async def test_a_port_in_use_is_told_and_changes_nothing(
    broker: EmbeddedBroker, tmp_path: Path, credentials: MemoryCredentials
) -> None:
    settings = BrokerSettings(port=broker.port, data_dir=tmp_path / "other")
    with pytest.raises(PortInUseError, match="in use"):
        await EmbeddedBroker(settings, credentials).start()
    assert not (tmp_path / "other").exists()


async def test_an_address_of_another_machine_is_told(
    tmp_path: Path, credentials: MemoryCredentials
) -> None:
    settings = BrokerSettings(host="192.0.2.1", port=0, data_dir=tmp_path)
    with pytest.raises(ListenError, match="cannot listen"):
        await EmbeddedBroker(settings, credentials).start()


async def test_a_data_directory_that_is_a_file_is_told(
    tmp_path: Path, credentials: MemoryCredentials
) -> None:
    (tmp_path / "file").write_text("mine")
    settings = BrokerSettings(port=0, data_dir=tmp_path / "file")
    with pytest.raises(DataDirectoryError, match="data directory"):
        await EmbeddedBroker(settings, credentials).start()
    assert (tmp_path / "file").read_text() == "mine"


async def test_a_data_directory_serves_one_broker_at_a_time(
    broker: EmbeddedBroker, settings: BrokerSettings, credentials: MemoryCredentials
) -> None:
    assert broker.port
    with pytest.raises(DataDirectoryError, match="other server"):
        await EmbeddedBroker(settings, credentials).start()


async def test_a_stopped_broker_leaves_no_task_and_can_start_again(
    settings: BrokerSettings, credentials: MemoryCredentials
) -> None:
    before = asyncio.all_tasks()
    broker = EmbeddedBroker(settings, credentials)
    for _ in range(2):
        await broker.start()
        bob = await RawClient.login(broker.port, BOB)
        await bob.subscribe("v1/u/bob-1/#")
        idle = await RawClient.open(broker.port)
        await broker.stop()
        assert asyncio.all_tasks() == before
        assert await bob.is_closed()
        assert await idle.is_closed()
        await bob.close()
        await idle.close()
    await broker.stop()


async def test_logs_hold_no_payload_password_or_traceback(
    settings: BrokerSettings, credentials: MemoryCredentials, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    broker = EmbeddedBroker(settings, credentials)
    await broker.start()
    attacker = await RawClient.open(broker.port)
    await attacker.connect(BOB, BOB, "planted password")
    alice = await RawClient.login(broker.port, ALICE)
    await alice.publish(mail_topic(1), b"planted payload")
    await alice.publish(mail_topic(1, sender=BOB), b"planted payload")
    alice.writer.write(b"\x36\x00")
    assert await alice.is_closed()
    await broker.stop()
    told = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    assert "planted" not in told
    assert SECRETS[ALICE] not in told
    assert not any(record.exc_info for record in caplog.records)
    await attacker.close()
    await alice.close()
