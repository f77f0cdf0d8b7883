"""Every bound of the broker, at the limit and one past it, on a broker with small ones."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from broker.embedded import EmbeddedBroker
from broker.limits import BrokerLimits
from broker.settings import BrokerSettings
from client_sdk.wire.limits import KIB, MAX_PACKET_BYTES
from tests.brokers.memory_credentials import MemoryCredentials
from tests.brokers.names import ALICE, BOB, SECRETS
from tests.conformance.client import Clients, ClosedError
from tests.conformance.open_auth import open_embedded
from tests.conformance.packets import (
    ACCEPTED,
    FAILURE,
    PINGREQ_PACKET,
    PINGRESP,
    PUBACK,
    PUBREC,
    Hello,
    publish,
)


@asynccontextmanager
async def limited(folder: Path, **limits: float) -> AsyncIterator[Clients]:
    settings = BrokerSettings(port=0, data_dir=folder, limits=BrokerLimits(**limits))  # type: ignore[arg-type]
    broker = open_embedded(settings)
    await broker.start()
    try:
        async with Clients(broker.port) as clients:
            yield clients
    finally:
        await broker.stop()


async def test_connections(tmp_path: Path) -> None:
    async with limited(tmp_path, max_connections=5) as clients:
        within = [await clients.connect(Hello(f"client{number}")) for number in range(5)]
        over = await clients.open()
        over.send(Hello("over").packet)
        assert await over.closed() == []
        for client in within:
            await client.ping()
        await within[0].disconnect()
        await clients.connect(Hello("another"))


@pytest.mark.parametrize("extra", [0, 1])
async def test_packet_bytes(tmp_path: Path, extra: int) -> None:
    async with limited(tmp_path, max_packet_bytes=KIB) as clients:
        client = await clients.connect()
        client.send(publish("a", bytes(KIB - 6 + extra)) + PINGREQ_PACKET)
        if extra:
            with pytest.raises(ClosedError):
                await client.receive()
        else:
            assert (await client.receive()).kind == PINGRESP


@pytest.mark.parametrize("letter", ["n", "ü"])
async def test_topic_bytes(tmp_path: Path, letter: str) -> None:
    async with limited(tmp_path, max_topic_bytes=64) as clients:
        client = await clients.connect()
        topic = letter * (64 // len(letter.encode()))
        assert await client.subscribe(topic, topic + "x", qos=1) == [1, FAILURE]
        await client.publish(topic + "x", b"over", retain=True)
        await client.publish(topic, b"within")
        assert [message.payload for message in await client.messages(1)] == [b"within"]


async def test_topic_levels(tmp_path: Path) -> None:
    async with limited(tmp_path, max_topic_levels=9) as clients:
        client = await clients.connect()
        topic = "/".join("123456789")
        assert await client.subscribe(topic, topic + "/#", qos=1) == [1, FAILURE]
        await client.publish(topic + "/x", b"over", retain=True)
        await client.publish(topic, b"within")
        assert [message.payload for message in await client.messages(1)] == [b"within"]


async def test_filters(tmp_path: Path) -> None:
    async with limited(tmp_path, max_filters=4) as clients:
        client = await clients.connect()
        assert await client.subscribe("1", "2", "3", "4", "5", "1", qos=1) == [1] * 4 + [FAILURE, 1]
        await client.unsubscribe("2")
        assert await client.subscribe("5", qos=1) == [1]


async def test_deliveries_in_flight(tmp_path: Path) -> None:
    async with limited(tmp_path, max_inflight=3) as clients:
        publisher, reader = await clients.connect(Hello("p")), await clients.connect(Hello("r"))
        await reader.subscribe("a", qos=1)
        for number in range(5):
            await publisher.publish("a", b"%d" % number)
        await reader.ping()
        assert [message.payload for message in reader._kept] == [b"0", b"1", b"2"]
        assert [message.payload for message in await reader.messages(5)] == [
            b"%d" % number for number in range(5)
        ]


async def test_open_exchanges_of_a_publisher_at_qos_2(tmp_path: Path) -> None:
    async with limited(tmp_path, max_inflight=3) as clients:
        publisher = await clients.connect()
        for number in (1, 2, 3):
            publisher.send(publish("a", b"x", 2, packet_id=number))
            assert (await publisher.expect(PUBREC)).packet_id == number
        publisher.send(publish("a", b"x", 2, packet_id=4))
        assert await publisher.closed() == []


@pytest.mark.parametrize(
    "limit", [{"max_queue_messages": 3}, {"max_queue_bytes": MAX_PACKET_BYTES}], ids=str
)
async def test_what_waits_for_a_session(tmp_path: Path, limit: dict[str, int]) -> None:
    """Not retained: past the bound it is dropped, the oldest is kept."""
    size = 10 if "max_queue_messages" in limit else MAX_PACKET_BYTES // 4
    stays = Hello("stays", clean=False)
    async with limited(tmp_path, **limit) as clients:
        reader, publisher = await clients.connect(stays), await clients.connect(Hello("p"))
        await reader.subscribe("a", qos=1)
        await reader.disconnect()
        for number in range(6):
            await publisher.publish("a", bytes([number]) * size)
        reader = await clients.connect(stays)
        found = [message.payload[0] for message in await reader.all_until_end(publisher)]
        assert found == [0, 1, 2]


async def test_sessions_of_clients_that_are_away(tmp_path: Path) -> None:
    async with limited(tmp_path, max_sessions=2) as clients:
        for number in range(3):
            client = await clients.connect(Hello(f"away{number}", clean=False))
            await client.disconnect()
        present = []
        for number in (2, 1, 0):
            client = await clients.connect(Hello(f"away{number}", clean=False))
            present.append(client.session_present)
        assert present == [True, True, False]


async def test_bytes_that_wait_in_all(tmp_path: Path) -> None:
    half = bytes(MAX_PACKET_BYTES // 2)
    async with limited(tmp_path, max_waiting_bytes=MAX_PACKET_BYTES) as clients:
        client = await clients.connect()
        await client.publish("a", half, retain=True)
        await client.publish("b", half, retain=True)
        client.send(publish("c", b"x", 1, retain=True, packet_id=9))
        await client.ping()  # `expect` fails at a PUBACK before the answer
        await client.publish("a", half[:-1], retain=True)
        await client.publish("c", b"x", retain=True)


@pytest.mark.parametrize("failures", [2, 3])
async def test_login_failures_of_one_name(tmp_path: Path, failures: int) -> None:
    limits = BrokerLimits(login_failures=3, login_failure_seconds=600)
    settings = BrokerSettings(port=0, data_dir=tmp_path, limits=limits)
    broker = EmbeddedBroker(settings, MemoryCredentials(SECRETS))
    await broker.start()
    async with Clients(broker.port) as clients:
        for _ in range(failures):
            client = await clients.open()
            assert await client.greet(Hello(BOB, username=BOB, password=b"wrong")) == 5
        assert broker.statistics.refused.get("login") == failures
        over = await clients.open()
        hello = Hello(BOB, username=BOB, password=b"wrong")
        if failures < 3:
            assert await over.greet(hello) == 5
        else:
            with pytest.raises(ClosedError):
                await over.greet(hello)
        assert broker.statistics.refused.get("login") == min(failures + 1, 3)
        for login in (ALICE, BOB):
            client = await clients.open()
            secret = SECRETS[login].encode()
            assert await client.greet(Hello(login, username=login, password=secret)) == ACCEPTED
    await broker.stop()


async def test_a_refused_message_is_not_acknowledged_later_either(tmp_path: Path) -> None:
    async with limited(tmp_path, max_waiting_bytes=MAX_PACKET_BYTES) as clients:
        client = await clients.connect()
        await client.publish("a", bytes(MAX_PACKET_BYTES - 100), retain=True)
        client.send(publish("b", bytes(200), 1, retain=True, packet_id=77))
        await client.publish("a", b"", retain=True)
        client.send(publish("c", b"x", 1, retain=True, packet_id=78))
        assert (await client.expect(PUBACK)).packet_id == 78
