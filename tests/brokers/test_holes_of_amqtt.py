"""Each hole of amqtt as shipped is seen on it, with its plugins, and is closed in our engine."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from amqtt.broker import Broker

from broker import acl
from broker.embedded import EmbeddedBroker
from broker.settings import BrokerSettings
from tests.brokers.eventually import eventually
from tests.brokers.memory_credentials import MemoryCredentials
from tests.brokers.names import ALICE, BOB, MALLORY, SECRETS, mail_topic, waiting
from tests.brokers.plain_amqtt import plain_amqtt, port_of
from tests.brokers.raw_client import RawClient, connect_packet
from tests.conformance.packets import PINGREQ_PACKET, PUBACK, Will, publish

SHIPPED, OURS = "amqtt as shipped", "ours"
ACL_SECONDS = 0.001


@dataclass(frozen=True)
class Server:
    """Either broker, and a look inside it."""

    broker: Broker | EmbeddedBroker
    port: int

    @property
    def is_shipped(self) -> bool:
        return isinstance(self.broker, Broker)

    def session_count(self) -> int:
        if isinstance(self.broker, Broker):
            return len(self.broker.sessions)
        engine = self.broker._engine
        assert engine is not None
        return len(engine.links) + len(engine.clients.absent)

    def retained(self) -> set[str]:
        if isinstance(self.broker, Broker):
            return set(self.broker.retained_messages)
        return set(waiting(self.broker))


@pytest.fixture(params=[SHIPPED, OURS])
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Server]:
    if request.param == SHIPPED:
        async with plain_amqtt(SECRETS, ACL_SECONDS) as plain:
            yield Server(plain, port_of(plain))
        return
    ours = EmbeddedBroker(BrokerSettings(port=0, data_dir=tmp_path), MemoryCredentials(SECRETS))
    await ours.start()
    yield Server(ours, ours.port)
    await ours.stop()


async def leave_mail_for_bob(port: int, count: int = 1) -> None:
    alice = await RawClient.login(port, ALICE)
    for number in range(count):
        assert await alice.publish(mail_topic(number), b"sealed")
    await alice.disconnect()


async def mail_of_bob(port: int, count: int = 1) -> list[tuple[str, bytes]]:
    bob = await RawClient.login(port, BOB)
    await bob.subscribe("v1/u/bob-1/in/+/+")
    messages = await bob.until_quiet() if count == 0 else await bob.until(count)
    await bob.disconnect()
    return [(message.topic, message.payload) for message in messages]


async def test_a_client_that_subscribes_to_nothing_is_sent_nothing(server: Server) -> None:
    bob = await RawClient.login(server.port, BOB)
    await bob.subscribe("v1/u/bob-1/#")
    await leave_mail_for_bob(server.port)
    await bob.until(1)
    mallory = await RawClient.login(server.port, MALLORY)
    leaked = [message.topic for message in await mallory.until_quiet()]
    assert leaked == ([mail_topic(0)] if server.is_shipped else [])
    await bob.disconnect()
    await mallory.disconnect()


@pytest.mark.parametrize("qos", [0, 1])
async def test_a_last_will_cannot_forge_waiting_mail(server: Server, qos: int) -> None:
    mallory = await RawClient.open(server.port)
    will = Will(mail_topic(1), b"forged", qos=qos, retain=True)
    await mallory.connect(MALLORY, MALLORY, SECRETS[MALLORY], will=will)
    mallory.abort()
    if server.is_shipped:
        await eventually(lambda: mail_topic(1) in server.retained())
    found = await mail_of_bob(server.port, count=1 if server.is_shipped else 0)
    assert found == ([(mail_topic(1), b"forged")] if server.is_shipped else [])


@pytest.mark.parametrize("qos", [0, 1])
async def test_a_last_will_cannot_erase_waiting_mail(server: Server, qos: int) -> None:
    await leave_mail_for_bob(server.port)
    await eventually(lambda: mail_topic(0) in server.retained())
    mallory = await RawClient.open(server.port)
    will = Will(mail_topic(0), b"", qos=qos, retain=True)
    await mallory.connect(MALLORY, MALLORY, SECRETS[MALLORY], will=will)
    mallory.abort()
    if server.is_shipped:
        await eventually(lambda: mail_topic(0) not in server.retained())
    found = await mail_of_bob(server.port, count=0 if server.is_shipped else 1)
    assert found == ([] if server.is_shipped else [(mail_topic(0), b"sealed")])


async def test_a_wrong_password_with_my_client_id_leaves_my_subscription(server: Server) -> None:
    bob = await RawClient.login(server.port, BOB)
    await bob.subscribe("v1/u/bob-1/in/+/+")
    attacker = await RawClient.open(server.port)
    await attacker.connect(BOB, BOB, "wrong")
    await attacker.close()
    await leave_mail_for_bob(server.port)
    received = await (bob.until_quiet() if server.is_shipped else bob.until(1))
    assert [message.topic for message in received] == ([] if server.is_shipped else [mail_topic(0)])
    await bob.close()


async def test_a_failed_login_cannot_become_the_user_of_my_session(server: Server) -> None:
    bob = await RawClient.open(server.port)
    assert await bob.connect(BOB, BOB, SECRETS[BOB], clean=not server.is_shipped) == 0
    attacker = await RawClient.open(server.port)
    await attacker.connect(BOB, MALLORY, "wrong", clean=False)
    await attacker.close()
    still_bob = await bob.ping() and await bob.subscribe("v1/u/bob-1/#") == [0]
    assert still_bob is not server.is_shipped
    await bob.close()


async def test_failed_logins_leave_no_sessions_behind(server: Server) -> None:
    for number in range(10):
        attacker = await RawClient.open(server.port)
        assert await attacker.connect(f"stranger-{number + 1}", "nobody-1", "wrong") == 5
        await attacker.close()
    assert server.session_count() == (10 if server.is_shipped else 0)


async def test_retained_messages_are_checked_against_the_readers_rights(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    await leave_mail_for_bob(server.port)
    monkeypatch.setattr(acl, "may_subscribe", lambda *_: True)
    mallory = await RawClient.login(server.port, MALLORY)
    assert await mallory.subscribe("v1/u/bob-1/#") == [0]
    await mallory.until_quiet()
    alice = await RawClient.login(server.port, ALICE)
    await alice.publish(mail_topic(1), b"live: checked by both")
    await alice.disconnect()
    leaked = [message.topic for message in await mallory.until_quiet()]
    assert leaked == ([mail_topic(0)] if server.is_shipped else [])
    await mallory.disconnect()


async def test_a_login_cannot_take_the_client_id_of_another(server: Server) -> None:
    bob = await RawClient.login(server.port, BOB)
    await bob.subscribe("v1/u/bob-1/in/+/+")
    mallory = await RawClient.open(server.port)
    code = await mallory.connect(BOB, MALLORY, SECRETS[MALLORY])
    assert code == (0 if server.is_shipped else 5)
    await leave_mail_for_bob(server.port)
    received = await (bob.until_quiet() if server.is_shipped else bob.until(1))
    assert [message.topic for message in received] == ([] if server.is_shipped else [mail_topic(0)])
    await bob.close()
    await mallory.close()


async def test_nothing_acknowledged_is_thrown_away_when_the_client_leaves(server: Server) -> None:
    count = 300
    alice = await RawClient.login(server.port, ALICE)
    for number in range(count):
        alice.writer.write(
            publish(mail_topic(number), b"sealed", 1, retain=True, packet_id=number + 1)
        )
    for _ in range(count):
        assert await alice.answer(PUBACK) is not None
    await alice.disconnect()
    found = await mail_of_bob(server.port, count=0 if server.is_shipped else count)
    assert (len(found) == count) is not server.is_shipped


async def test_a_packet_over_the_limit_is_not_read_into_memory(server: Server) -> None:
    alice = await RawClient.login(server.port, ALICE)
    alice.writer.write(b"\x32\xff\xff\xff\x7f")
    assert await alice.is_closed(seconds=0.5) is not server.is_shipped
    await alice.close()


async def test_a_client_silent_beyond_its_keep_alive_time_is_closed(server: Server) -> None:
    alice = await RawClient.open(server.port)
    assert await alice.connect(ALICE, ALICE, SECRETS[ALICE], keepalive=1) == 0
    assert await alice.is_closed(seconds=3) is not server.is_shipped
    await alice.close()


def test_the_raw_client_writes_the_bytes_of_the_standard() -> None:
    assert connect_packet("a", "b", "c") == bytes.fromhex(
        "101300044d51545404c2003c000161000162000163"
    )
    assert PINGREQ_PACKET == b"\xc0\x00"
