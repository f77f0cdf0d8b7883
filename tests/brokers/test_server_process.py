"""A server as its operator meets it: logs without contents, readiness, its end within 5 seconds."""

import asyncio
import ctypes
import errno
import hashlib
import http.client
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from client_sdk.wire.ids import DeviceAddress
from client_sdk.wire.topics import inbox
from keydir.config import DirectorySettings
from keydir.prepare import prepare_directory
from keydir.stores.sql import SqlDirectoryStore
from tests.brokers.names import numbered_id
from tests.brokers.raw_client import RawClient
from tests.e2e.programs import Program, ratchetmq

CLIENTS = 50
MESSAGES = 20
END_SECONDS = 5.0
READER = "reader-1"
LOGINS = (READER, *(f"sender-{number}" for number in range(1, CLIENTS + 1)))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data folder of a directory with 51 logins; each password tells its login."""
    folder = tmp_path / "data"
    prepared = prepare_directory(DirectorySettings(data_dir=folder))
    store = SqlDirectoryStore(prepared.database_path)
    with store.transaction() as transaction:
        for login in LOGINS:
            secret = hashlib.sha256(f"secret of {login}".encode()).digest()
            transaction.logins.put(login, secret, None)
    store.close()
    return folder


def server(data: Path, *flags: str) -> Program:
    return Program(ratchetmq("serve", "--data", str(data), "--port", "0", *flags))


def port_of(ready: dict[str, object]) -> int:
    return int(str(ready["url"]).rpartition(":")[2])


class Acknowledged:
    """The topics that were acknowledged, and when a good part of them was."""

    def __init__(self, enough: int) -> None:
        self.topics: set[str] = set()
        self.reached = asyncio.Event()
        self._enough = enough

    async def publish_all(self, client: RawClient, sender: str) -> None:
        """Publish until all is acknowledged or the connection ends."""
        for number in range(MESSAGES):
            topic = inbox(DeviceAddress(READER), DeviceAddress(sender), numbered_id(number))
            if not await client.publish(topic, b"waits"):
                return
            self.topics.add(topic)
            if len(self.topics) >= self._enough:
                self.reached.set()


async def test_sigterm_amid_fifty_senders_ends_within_five_seconds_and_keeps_what_it_acknowledged(
    data: Path,
) -> None:
    acknowledged = Acknowledged(CLIENTS * MESSAGES // 2)
    with server(data) as first:
        port = port_of(first.row())
        clients = [await RawClient.login(port, login) for login in LOGINS[1:]]
        async with asyncio.TaskGroup() as group:
            for client, login in zip(clients, LOGINS[1:], strict=True):
                group.create_task(acknowledged.publish_all(client, login))
            async with asyncio.timeout(60):
                await acknowledged.reached.wait()
            first.send_signal(signal.SIGTERM)
            begun = time.monotonic()
            ended = await asyncio.to_thread(first.wait)
            assert time.monotonic() - begun < END_SECONDS  # the bound that is promised
        assert (ended.code, ended.err) == (0, "")
        assert all([await client.is_closed() for client in clients])
        for client in clients:
            await client.close()
    with server(data) as second:
        reader = await RawClient.login(port_of(second.row()), READER)
        await reader.subscribe(f"v1/u/{READER}/#")
        received = await reader.until(len(acknowledged.topics))
        await reader.until_quiet()
        assert acknowledged.topics <= {message.topic for message in received}
        await reader.disconnect()


async def test_a53_logs_of_every_level_are_json_and_quote_nothing_that_was_received(
    data: Path,
) -> None:
    with server(data, "--log-format", "json", "--log-level", "debug") as running:
        port = port_of(running.row())
        stranger = await RawClient.open(port)
        await stranger.connect("planted-1", "planted-1", "planted password")
        await stranger.close()
        sender = await RawClient.login(port, LOGINS[1])
        topic = inbox(DeviceAddress(READER), DeviceAddress(LOGINS[1]), numbered_id(1))
        assert await sender.publish(topic, b"planted payload")
        await sender.publish("v1/planted topic", b"planted payload")
        await sender.close()
        garbage = await RawClient.open(port)
        garbage.writer.write(b"\x10\xff\xffplanted garbage")
        await garbage.close()
        ended = await asyncio.to_thread(running.end)
    records = [json.loads(line) for line in ended.err.splitlines()]
    assert {"event", "level", "logger", "timestamp"} <= set.intersection(*map(set, records))
    assert "connected" in {record["event"] for record in records}
    assert "planted" not in ended.err
    assert f"secret of {LOGINS[1]}" not in ended.err


def test_text_logs_are_one_line_a_record(data: Path) -> None:
    with server(data, "--log-level", "info") as running:
        running.row()
        ended = running.end()
    assert all(" info " in line or " warning " in line for line in ended.err.splitlines())
    assert "broker.embedded listening" in ended.err


def test_the_ready_line_names_metrics_and_they_answer(data: Path) -> None:
    with server(data, "--metrics-port", "0") as running:
        url = str(running.row()["metrics_url"])
        for page in ("/metrics", "/healthz", "/readyz"):
            connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
            connection.request("GET", page)
            assert connection.getresponse().status == 200
            connection.close()
        assert running.end().code == 0


async def test_metrics_show_who_is_connected_and_what_waits(data: Path) -> None:
    with server(data, "--metrics-port", "0") as running:
        ready = running.row()
        sender = await RawClient.login(port_of(ready), LOGINS[1])
        topic = inbox(DeviceAddress(READER), DeviceAddress(LOGINS[1]), numbered_id(1))
        assert await sender.publish(topic, b"12345")
        await sender.publish("v1/not/mine", b"12345")
        url = str(ready["metrics_url"]).removeprefix("http://")
        text = await asyncio.to_thread(fetched, url, "/metrics")
        await sender.close()
        assert running.end().code == 0
    for line in (
        "ratchetmq_connections 2.0",  # and the key directory
        "ratchetmq_waiting_messages 1.0",
        "ratchetmq_waiting_bytes 5.0",
        'ratchetmq_refused_total{reason="publication"} 1.0',
    ):
        assert f"\n{line}\n" in text


def fetched(where: str, page: str) -> str:
    connection = http.client.HTTPConnection(where, timeout=10)
    connection.request("GET", page)
    text = connection.getresponse().read().decode()
    connection.close()
    return text


@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_manager_hears_of_ready_and_of_the_end(
    data: Path, tmp_path: Path, abstract: bool
) -> None:
    name = f"@ratchetmq-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:] if abstract else name)
        manager.settimeout(30)
        command = ["env", f"NOTIFY_SOCKET={name}", *ratchetmq("broker", "--data", str(data))]
        with Program([*command, "--port", "0"]) as running:
            assert manager.recv(64) == b"READY=1"
            running.send_signal(signal.SIGTERM)
            assert manager.recv(64) == b"STOPPING=1"
            assert running.wait().code == 0


REFUSE_EXEC_GAIN = """
import ctypes, os, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):
    sys.exit(99)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def test_the_server_needs_no_memory_that_is_writable_and_executable(data: Path) -> None:
    """MemoryDenyWriteExecute= of the unit, by the kernel's own switch (PR_SET_MDWE)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(66, 0, 0, 0, 0) < 0 and ctypes.get_errno() == errno.EINVAL:
        pytest.skip("the kernel is older than 6.3 and cannot refuse such memory by itself")
    command = ratchetmq("serve", "--data", str(data), "--port", "0")
    with Program([sys.executable, "-c", REFUSE_EXEC_GAIN, *command[1:]]) as running:
        assert running.row()["event"] == "ready"
        ended = running.end()
    assert (ended.code, ended.err) == (0, "")
