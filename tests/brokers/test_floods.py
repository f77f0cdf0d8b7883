"""Who sends too much, too big or nothing at all: A42, A43 and A44 on the embedded broker."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.embedded import EmbeddedBroker
from broker.limits import MIB, BrokerLimits
from broker.settings import BrokerSettings
from client_sdk.wire.limits import MAX_PACKET_BYTES
from client_sdk.wire.notice import NOTICE, NoticeReason
from tests.brokers.memory_credentials import MemoryCredentials
from tests.brokers.names import ALICE, BOB, MALLORY, SECRETS, mail_topic, waiting
from tests.brokers.process_memory import resident_bytes
from tests.brokers.raw_client import RawClient, connect_packet
from tests.conformance.packets import PUBACK, publish, text

MESSAGES = 20
LIMITS = BrokerLimits(max_pair_messages=MESSAGES, max_pair_bytes=MAX_PACKET_BYTES)
NOTICES = f"v1/u/{ALICE}/notice/+"
UNUSED = mail_topic(10**9)
IDLE, REAL = 500, 50
CONNECT_SECONDS = 1.5


@pytest.fixture
async def bounded(tmp_path: Path, credentials: MemoryCredentials) -> AsyncIterator[EmbeddedBroker]:
    running = EmbeddedBroker(
        BrokerSettings(port=0, data_dir=tmp_path / "broker", limits=LIMITS), credentials
    )
    await running.start()
    yield running
    await running.stop()


async def is_acknowledged(client: RawClient, topic: str, payload: bytes, number: int) -> bool:
    """Publish retained; tell whether it was acknowledged before what was published after it.

    Acknowledgements keep the order of their messages (MQTT-4.6.0-2).
    """
    later = number + 30_000
    client.writer.write(publish(topic, payload, 1, retain=True, packet_id=number))
    client.writer.write(publish(UNUSED, b"", 1, retain=True, packet_id=later))
    found: list[int] = []
    while later not in found:
        acknowledged = await client.answer(PUBACK)
        assert acknowledged is not None, "closed"
        found.append(int.from_bytes(acknowledged))
    return found == [number, later]


async def fill(client: RawClient, count: int = MESSAGES) -> None:
    for number in range(count):
        assert await client.publish(mail_topic(number), b"sealed")


async def test_a42_a_sender_over_its_quota_is_told_and_not_acknowledged(
    bounded: EmbeddedBroker,
) -> None:
    alice = await RawClient.login(bounded.port, ALICE)
    await alice.subscribe(NOTICES, qos=1)
    await fill(alice)
    over = mail_topic(MESSAGES)
    assert not await is_acknowledged(alice, over, b"one too many", 1000)
    (told,) = await alice.until(1)
    assert told.topic.startswith(NOTICES.removesuffix("+"))
    assert not told.retain
    notice = NOTICE.decode(told.payload)
    assert (NoticeReason(notice.reason), notice.topic) == (NoticeReason.OVER_QUOTA, over)
    assert set(waiting(bounded)) == {mail_topic(number) for number in range(MESSAGES)}
    assert await alice.ping()
    await alice.disconnect()


async def test_a42_a_full_mailbox_of_one_sender_is_open_to_others_and_for_others(
    bounded: EmbeddedBroker,
) -> None:
    alice = await RawClient.login(bounded.port, ALICE)
    await fill(alice)
    assert not await is_acknowledged(alice, mail_topic(MESSAGES), b"over", 1000)
    mallory = await RawClient.login(bounded.port, MALLORY)
    assert await mallory.publish(mail_topic(1, sender=MALLORY), b"sealed")
    assert await alice.publish(mail_topic(1, recipient=MALLORY), b"sealed")
    bob = await RawClient.login(bounded.port, BOB)
    await bob.subscribe(f"v1/u/{BOB}/#", qos=1)
    assert len(await bob.until(MESSAGES + 1)) == MESSAGES + 1
    for client in (alice, bob, mallory):
        await client.disconnect()


@pytest.mark.parametrize("clearing", [ALICE, BOB])
async def test_a42_there_is_room_again_for_as_much_as_was_cleared(
    bounded: EmbeddedBroker, clearing: str
) -> None:
    alice = await RawClient.login(bounded.port, ALICE)
    await fill(alice)
    assert not await is_acknowledged(alice, mail_topic(MESSAGES), b"over", 1000)
    other = alice if clearing == ALICE else await RawClient.login(bounded.port, clearing)
    assert await other.publish(mail_topic(0), b"")
    assert await is_acknowledged(alice, mail_topic(MESSAGES), b"again", 1001)
    assert not await is_acknowledged(alice, mail_topic(MESSAGES + 1), b"over", 1002)
    await alice.disconnect()
    await other.disconnect()


async def test_a42_the_same_topic_again_takes_no_more_room(bounded: EmbeddedBroker) -> None:
    alice = await RawClient.login(bounded.port, ALICE)
    await fill(alice)
    assert await is_acknowledged(alice, mail_topic(3), b"another", 1000)
    assert len(waiting(bounded)) == MESSAGES
    await alice.disconnect()


async def test_a42_the_bytes_of_a_mailbox_are_bounded_too(bounded: EmbeddedBroker) -> None:
    alice = await RawClient.login(bounded.port, ALICE)
    half = bytes(MAX_PACKET_BYTES // 2)
    assert await is_acknowledged(alice, mail_topic(1), half, 1)
    assert not await is_acknowledged(alice, mail_topic(2), half + b"x", 2)
    assert await is_acknowledged(alice, mail_topic(2), half, 3)
    assert not await is_acknowledged(alice, mail_topic(3), b"x", 4)
    await alice.disconnect()


async def test_a42_what_waits_on_disk_counts_after_a_restart(
    tmp_path: Path, credentials: MemoryCredentials
) -> None:
    settings = BrokerSettings(port=0, data_dir=tmp_path, limits=LIMITS)
    for round_number in range(2):
        running = EmbeddedBroker(settings, credentials)
        await running.start()
        alice = await RawClient.login(running.port, ALICE)
        if round_number == 0:
            await fill(alice)
        assert not await is_acknowledged(alice, mail_topic(MESSAGES), b"over", 1000)
        await alice.disconnect()
        await running.stop()


async def test_a42_a_flood_beyond_the_shipped_quota_stores_no_more_than_it(
    broker: EmbeddedBroker,
) -> None:
    """The shipped bound is 1,000 messages; 3,000 arrive faster than the disk takes them."""
    quota = BrokerLimits().max_pair_messages
    alice = await RawClient.login(broker.port, ALICE)
    for number in range(3 * quota):
        alice.writer.write(
            publish(mail_topic(number), b"z" * 1000, 1, retain=True, packet_id=number + 1)
        )
        if number % 100 == 0:
            await alice.writer.drain()
    for _ in range(quota):
        assert await alice.answer(PUBACK) is not None
    assert await alice.ping()
    mallory = await RawClient.login(broker.port, MALLORY)
    assert await mallory.publish(mail_topic(1, sender=MALLORY), b"sealed")
    assert len(waiting(broker)) == quota + 1
    await alice.disconnect()
    await mallory.disconnect()


@pytest.mark.parametrize("extra", [0, 1])
async def test_a43_a_packet_may_have_the_limits_bytes_and_not_one_more(
    broker: EmbeddedBroker, extra: int
) -> None:
    alice = await RawClient.login(broker.port, ALICE)
    topic = f"v1/kd/req/{ALICE}/x"
    head = 4 + len(text(topic))
    alice.writer.write(publish(topic, bytes(MAX_PACKET_BYTES - head + extra)))
    assert await alice.ping() is (extra == 0)
    await alice.close()


@pytest.mark.parametrize("announced", [MAX_PACKET_BYTES, 8 * MIB, 0x0FFF_FFFF])
@pytest.mark.parametrize("first", [0x30, 0x32, 0x82, 0xA2, 0x10, 0xC0])
async def test_a43_what_is_announced_too_big_is_not_waited_for(
    broker: EmbeddedBroker, announced: int, first: int
) -> None:
    bob = await RawClient.login(broker.port, BOB)
    alice = await RawClient.login(broker.port, ALICE)
    alice.writer.write(bytes([first]) + _length(announced))
    assert await alice.is_closed()
    stranger = await RawClient.open(broker.port)
    stranger.writer.write(b"\x10" + _length(announced))
    assert await stranger.is_closed()
    assert await bob.ping()
    for client in (alice, bob, stranger):
        await client.close()


async def test_a43_hundreds_of_megabytes_at_a_time_cost_the_broker_no_memory(
    broker: EmbeddedBroker,
) -> None:
    before = resident_bytes()
    for _ in range(100):
        alice = await RawClient.login(broker.port, ALICE)
        alice.writer.write(b"\x32" + _length(8 * MIB) + bytes(256 * 1024))
        assert await alice.is_closed()
        await alice.close()
    assert resident_bytes() - before < 30 * MIB


def _length(value: int) -> bytes:
    return bytes([value & 127 | 128, value >> 7 & 127 | 128, value >> 14 & 127 | 128, value >> 21])


async def test_a44_idle_sockets_keep_nobody_out_and_are_closed(
    tmp_path: Path,
) -> None:
    logins = [f"user{number}-1" for number in range(REAL)]
    secrets = {login: f"secret of {login}" for login in logins}
    limits = BrokerLimits(connect_seconds=CONNECT_SECONDS)
    settings = BrokerSettings(port=0, data_dir=tmp_path / "broker", limits=limits)
    running = EmbeddedBroker(settings, MemoryCredentials(secrets))
    await running.start()
    idle = [await RawClient.open(running.port) for _ in range(IDLE)]
    for number, client in enumerate(idle):
        # A third says nothing, a third begins a CONNECT, a third sends a length without an end.
        client.writer.write((b"", connect_packet("a-1", "a-1", "x")[:9], b"\x10\xff")[number % 3])
    real = [await RawClient.login(running.port, login) for login in logins]
    for login, client in zip(logins, real, strict=True):
        await client.subscribe(f"v1/u/{login}/#", qos=1)
    for number, client in enumerate(real):
        recipient = logins[(number + 1) % REAL]
        topic = mail_topic(1, sender=logins[number], recipient=recipient)
        assert await client.publish(topic, b"sealed")
    for client in real:
        assert len(await client.until(1)) == 1
    assert all(await asyncio.gather(*(client.is_closed(seconds=10) for client in idle)))
    for client in real:
        assert await client.ping()
    for client in (*idle, *real):
        await client.close()
    await running.stop()


async def test_a44_a_trickle_of_bytes_does_not_put_off_the_end(
    tmp_path: Path, credentials: MemoryCredentials
) -> None:
    limits = BrokerLimits(connect_seconds=0.5)
    settings = BrokerSettings(port=0, data_dir=tmp_path / "broker", limits=limits)
    running = EmbeddedBroker(settings, credentials)
    await running.start()
    slow = await RawClient.open(running.port)
    closing = asyncio.create_task(slow.is_closed())
    for byte in connect_packet(ALICE, ALICE, SECRETS[ALICE])[:-1]:
        slow.writer.write(bytes([byte]))
        if (await asyncio.wait({closing}, timeout=0.1))[0]:
            break
    assert await closing
    await slow.close()
    await running.stop()


def test_a44_the_shipped_bound_is_ten_seconds() -> None:
    assert BrokerLimits().connect_seconds == 10


async def test_a44_the_oldest_socket_without_a_login_makes_room_for_a_newer_one(
    tmp_path: Path, credentials: MemoryCredentials
) -> None:
    limits = BrokerLimits(max_waiting_logins=10)
    settings = BrokerSettings(port=0, data_dir=tmp_path / "broker", limits=limits)
    running = EmbeddedBroker(settings, credentials)
    await running.start()
    idle = [await RawClient.open(running.port) for _ in range(10)]
    alice = await RawClient.login(running.port, ALICE)
    assert await idle[0].is_closed()
    assert await alice.ping()
    for client in (*idle, alice):
        await client.close()
    await running.stop()
