"""The embedded broker as its host program and its clients meet it."""

import socket

import pytest

from broker.connection import Connection
from broker.embedded import EmbeddedBroker
from broker.limits import BrokerLimits
from broker.link import HIGH_WATER_BYTES
from broker.settings import BrokerSettings
from client_sdk.wire.limits import MAX_ENVELOPE_BYTES, MAX_PACKET_BYTES
from tests.brokers.memory_credentials import MemoryCredentials
from tests.brokers.names import (
    ALICE,
    BOB,
    DIRECTORY,
    ENROLLING,
    SECRETS,
    mail_topic,
    numbered_id,
    waiting,
)
from tests.brokers.raw_client import RawClient
from tests.conformance.packets import PUBACK, publish

MAX_FILTERS = BrokerLimits().max_filters
REPLY = f"v1/u/bob-1/kd/{numbered_id(1)}"


async def fill(port: int, count: int) -> None:
    alice = await RawClient.login(port, ALICE)
    for number in range(count):
        assert await alice.publish(mail_topic(number), str(number).encode())
    await alice.disconnect()


async def test_mail_waits_in_order_and_is_cleared_by_its_reader(broker: EmbeddedBroker) -> None:
    await fill(broker.port, 100)
    bob = await RawClient.login(broker.port, BOB)
    await bob.subscribe("v1/u/bob-1/in/+/+")
    received = await bob.until(100)
    assert [message.payload for message in received] == [str(n).encode() for n in range(100)]
    assert all(message.retain for message in received)
    for message in received:
        await bob.publish(message.topic, b"")
    assert waiting(broker) == {}
    await bob.subscribe("v1/u/bob-1/in/+/+")
    assert len(await bob.until_quiet()) == 100
    await bob.disconnect()


async def test_subscribing_again_sends_what_still_waits(broker: EmbeddedBroker) -> None:
    await fill(broker.port, 2)
    bob = await RawClient.login(broker.port, BOB)
    for _ in range(2):
        await bob.subscribe("v1/u/bob-1/#")
    assert len(await bob.until(4)) == 4
    await bob.disconnect()


@pytest.mark.parametrize(
    ("published", "payload", "subscribed"), [(1, b"sealed", 0), (1, b"sealed", 1), (0, b"", 1)]
)
async def test_live_mail_has_the_lower_of_both_qos(
    broker: EmbeddedBroker, published: int, payload: bytes, subscribed: int
) -> None:
    bob = await RawClient.login(broker.port, BOB)
    assert await bob.subscribe("v1/u/bob-1/#", qos=subscribed) == [subscribed]
    alice = await RawClient.login(broker.port, ALICE)
    await alice.publish(mail_topic(1), payload, qos=published)
    message = (await bob.until(1))[0]
    assert (message.qos, message.retain) == (min(published, subscribed), False)
    await alice.disconnect()
    await bob.disconnect()


async def test_overlapping_filters_deliver_one_copy(broker: EmbeddedBroker) -> None:
    bob = await RawClient.login(broker.port, BOB)
    assert await bob.subscribe("v1/u/bob-1/#", "v1/u/bob-1/in/+/+", qos=2) == [2, 2]
    alice = await RawClient.login(broker.port, ALICE)
    await alice.publish(mail_topic(1), b"sealed")
    assert len(await bob.until_quiet()) == 1
    await alice.disconnect()
    await bob.disconnect()


async def test_requests_and_replies_travel_between_device_and_directory(
    broker: EmbeddedBroker,
) -> None:
    directory = await RawClient.login(broker.port, DIRECTORY)
    await directory.subscribe("v1/kd/req/+/+", "v1/kd/enroll/+", qos=1)
    bob = await RawClient.login(broker.port, BOB)
    await bob.subscribe("v1/u/bob-1/kd/+")
    await bob.publish(f"v1/kd/req/bob-1/{numbered_id(1)}", b"request", retain=False)
    enrolling = await RawClient.login(broker.port, ENROLLING)
    await enrolling.subscribe(f"v1/kd/enrolled/{numbered_id(0)}")
    await enrolling.publish(f"v1/kd/enroll/{numbered_id(0)}", b"enrolment", retain=False)
    assert [message.payload for message in await directory.until(2)] == [b"request", b"enrolment"]
    await directory.publish(REPLY, b"reply", retain=False)
    await directory.publish(f"v1/kd/enrolled/{numbered_id(0)}", b"enrolled", retain=False)
    assert [message.payload for message in await bob.until(1)] == [b"reply"]
    assert [message.payload for message in await enrolling.until(1)] == [b"enrolled"]
    for client in (directory, bob, enrolling):
        await client.disconnect()


async def test_the_directory_sweeps_the_mail_of_a_removed_device(broker: EmbeddedBroker) -> None:
    await fill(broker.port, 3)
    directory = await RawClient.login(broker.port, DIRECTORY)
    await directory.subscribe("v1/u/+/in/alice-1/+")
    for message in await directory.until(3):
        await directory.publish(message.topic, b"")
    assert waiting(broker) == {}
    await directory.disconnect()


async def test_the_same_login_takes_over_from_its_older_connection(broker: EmbeddedBroker) -> None:
    older = await RawClient.login(broker.port, BOB)
    await older.subscribe("v1/u/bob-1/#")
    newer = await RawClient.login(broker.port, BOB)
    assert await older.is_closed()
    await newer.subscribe("v1/u/bob-1/#")
    await fill(broker.port, 1)
    assert len(await newer.until(1)) == 1
    await older.close()
    await newer.disconnect()


async def test_unsubscribing_ends_delivery(broker: EmbeddedBroker) -> None:
    bob = await RawClient.login(broker.port, BOB)
    await bob.subscribe("v1/u/bob-1/#")
    await bob.unsubscribe("v1/u/bob-1/#")
    await fill(broker.port, 1)
    assert await bob.until_quiet() == []
    await bob.disconnect()


async def test_a_connection_has_a_bounded_number_of_filters(broker: EmbeddedBroker) -> None:
    bob = await RawClient.login(broker.port, BOB)
    filters = [f"v1/u/bob-1/in/+/{numbered_id(n)}" for n in range(MAX_FILTERS + 1)]
    assert await bob.subscribe(*filters) == [0] * MAX_FILTERS + [0x80]
    await bob.disconnect()


@pytest.mark.parametrize(("size", "kept"), [(MAX_ENVELOPE_BYTES, 1), (MAX_ENVELOPE_BYTES + 1, 0)])
async def test_an_envelope_has_a_largest_size(broker: EmbeddedBroker, size: int, kept: int) -> None:
    alice = await RawClient.login(broker.port, ALICE)
    assert await alice.publish(mail_topic(1), bytes(size))
    assert len(waiting(broker)) == kept
    await alice.disconnect()


@pytest.mark.parametrize("over", [0, 1])
async def test_a_packet_has_a_largest_size(broker: EmbeddedBroker, over: int) -> None:
    alice = await RawClient.login(broker.port, ALICE)
    whole = publish(mail_topic(1), b"", 1)
    padding = MAX_PACKET_BYTES - len(whole) - 2
    alice.writer.write(publish(mail_topic(1), bytes(padding + over), 1))
    assert (await alice.answer(PUBACK) is not None) is (over == 0)
    await alice.close()


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00\x00",
        b"\xf0\x00",
        b"\x10\xff\xff\xff\xff\x7f",
        b"\x10\x02\x00\x00",
        bytes.fromhex("100c00044d51545405c2003c0000"),
    ],
)
async def test_what_is_no_login_is_closed(broker: EmbeddedBroker, garbage: bytes) -> None:
    client = await RawClient.open(broker.port)
    client.writer.write(garbage)
    client.writer.write_eof()
    assert await client.is_closed()
    await client.close()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x10\x00",
        b"\x20\x02\x00\x00",
        b"\x36\x00",
        b"\x32\x03\x00\x09a",
        b"\x30\x05\x00\x03a/#",
        b"\x34\x07\x00\x03v/x\x00\x00",
        b"\x80\x02\x00\x01",
        b"\x82\x02\x00\x01",
    ],
)
async def test_a_rule_broken_after_the_login_ends_that_connection_only(
    broker: EmbeddedBroker, garbage: bytes
) -> None:
    bob = await RawClient.login(broker.port, BOB)
    alice = await RawClient.login(broker.port, ALICE)
    alice.writer.write(garbage)
    assert await alice.is_closed()
    assert await bob.ping()
    await alice.close()
    await bob.disconnect()


async def test_a_session_to_be_kept_is_refused(broker: EmbeddedBroker) -> None:
    bob = await RawClient.open(broker.port)
    assert await bob.connect(BOB, BOB, SECRETS[BOB], clean=False) == 5
    await bob.close()


async def test_a_socket_without_a_login_is_closed(
    settings: BrokerSettings, credentials: MemoryCredentials
) -> None:
    hasty = settings.model_copy(update={"limits": BrokerLimits(connect_seconds=0.2)})
    broker = EmbeddedBroker(hasty, credentials)
    await broker.start()
    client = await RawClient.open(broker.port)
    client.writer.write(b"\x10")
    assert await client.is_closed()
    await client.close()
    await broker.stop()


async def test_small_packets_are_not_delayed(broker: EmbeddedBroker) -> None:
    bob = await RawClient.login(broker.port, BOB)
    transport = connection_of(broker, BOB).link._transport
    assert transport is not None
    accepted = transport.get_extra_info("socket")
    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    await bob.disconnect()


async def test_a_reader_that_never_reads_holds_up_nobody_and_misses_no_waiting_mail(
    settings: BrokerSettings, credentials: MemoryCredentials
) -> None:
    few = settings.model_copy(update={"limits": BrokerLimits(max_queue_messages=10)})
    broker = EmbeddedBroker(few, credentials)
    await broker.start()
    sleeper = await RawClient.login(broker.port, BOB)
    await sleeper.subscribe("v1/u/bob-1/#")
    sleeper.writer.transport.pause_reading()
    alice = await RawClient.login(broker.port, ALICE)
    sent = {mail_topic(number): bytes(MAX_ENVELOPE_BYTES - number) for number in range(150)}
    for topic, payload in sent.items():
        assert await alice.publish(topic, payload)
    connection = connection_of(broker, BOB)
    assert connection.link.unsent_bytes < HIGH_WATER_BYTES + 2 * MAX_PACKET_BYTES
    assert connection.subscriber.outbound.queued == 10
    assert connection.subscriber.missed
    sleeper.writer.transport.resume_reading()
    received = await sleeper.until(150)
    assert {message.topic: message.payload for message in received} == sent
    await alice.disconnect()
    await sleeper.disconnect()
    await broker.stop()


def connection_of(broker: EmbeddedBroker, login: str) -> Connection:
    assert broker._engine is not None
    return broker._engine.clients.connections[login]
