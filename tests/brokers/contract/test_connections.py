"""Will, take-over, logins that come and go, TLS and WebSocket; on every broker."""

import asyncio
import contextlib
import ssl
import warnings
from pathlib import Path

import pytest

from broker.certs import Certificates, make_certificates
from client_sdk.transport.mqtt import Login, MqttTransport
from client_sdk.transport.ports import Connection
from client_sdk.wire.ids import DeviceAddress
from client_sdk.wire.limits import MAX_ENVELOPE_BYTES
from client_sdk.wire.topics import inbox_filter
from tests.brokers.contract.clients import ALL_SECONDS, Clients, fetch_all, fetch_only, send
from tests.brokers.contract.conftest import Make, People
from tests.brokers.contract.test_waiting_mail import sweep
from tests.brokers.contract.under_test import (
    LOGIN_REFUSED,
    BrokerUnderTest,
    NoWebSocketError,
    Options,
)
from tests.brokers.names import mail_topic
from tests.brokers.raw_client import connect_packet
from tests.conformance.packets import Will


async def test_a_last_will_is_published_when_a_device_falls_silent(
    broker: BrokerUnderTest, person: People, clients: Clients
) -> None:
    alice, bob = person(), person()
    topic = mail_topic(0, alice, bob)
    dying = await clients.open(broker)
    will = Will(topic, b"last", 1, retain=True)
    assert await dying.connect(alice, alice, broker.logins[alice], will=will) == 0
    dying.abort()
    recipient = await clients.login(broker, bob, node=1)
    assert (await fetch_all(recipient, {topic})).mail == {topic: b"last"}


async def test_a_device_that_says_goodbye_leaves_no_will(
    broker: BrokerUnderTest, person: People, clients: Clients
) -> None:
    alice, bob = person(), person()
    leaving = await clients.open(broker)
    will = Will(mail_topic(0, alice, bob), b"last", 1, retain=True)
    assert await leaving.connect(alice, alice, broker.logins[alice], will=will) == 0
    await leaving.disconnect()
    (marker,) = await send(await clients.login(broker, alice), alice, bob, 1)
    assert marker == mail_topic(0, alice, bob)
    recipient = await clients.login(broker, bob)
    assert (await fetch_all(recipient, {marker})).mail == {marker: b"0"}


@pytest.mark.parametrize("node", [0, 1])
async def test_the_newer_connection_of_a_login_ends_the_older_one(
    broker: BrokerUnderTest, person: People, clients: Clients, node: int
) -> None:
    alice, bob = person(), person()
    older = await clients.login(broker, bob)
    await older.subscribe(inbox_filter(DeviceAddress(bob)))
    newer = await clients.login(broker, bob, node=node)
    assert await older.is_closed()
    (topic,) = await send(await clients.login(broker, alice), alice, bob, 1)
    await fetch_all(newer, {topic})
    assert older.messages == []


async def test_a_new_login_is_let_in_and_nobody_else_is_disturbed(
    own_broker: Make, clients: Clients
) -> None:
    broker = own_broker()
    bob = await clients.login(broker, "user001-1")
    await bob.subscribe(inbox_filter(DeviceAddress("user001-1")))
    assert broker.answers("new-1", "secret of new-1") in (*LOGIN_REFUSED, None)
    await asyncio.to_thread(broker.add, "new-1", "secret of new-1")
    (topic,) = await send(await clients.login(broker, "new-1"), "new-1", "user001-1", 1)
    assert [one.topic for one in await bob.until(1)] == [topic]


async def test_a40_a_revoked_device_is_cut_off_and_nothing_of_it_is_delivered(
    own_broker: Make, clients: Clients
) -> None:
    broker = own_broker()
    alice, bob, mallory = "user000-1", "user001-1", "user002-1"
    away = await clients.login(broker, alice)
    await send(away, alice, mallory, 3)
    await send(away, alice, bob, 1)
    revoked = await clients.login(broker, mallory)
    await send(revoked, mallory, bob, 3)
    await revoked.subscribe(inbox_filter(DeviceAddress(mallory)))
    secret = broker.logins[mallory]
    broker.revoke(mallory)
    assert await revoked.is_closed()
    assert broker.answers(mallory, secret) in (*LOGIN_REFUSED, None)
    await sweep(broker, mallory)
    recipient = await clients.login(broker, bob)
    await fetch_all(recipient, {mail_topic(0, alice, bob)})
    assert await away.ping()
    # Its name is given out once only; still nothing of before waits under it.
    await asyncio.to_thread(broker.add, mallory, "another secret")
    (marker,) = await send(away, alice, mallory, 1, first=3)
    await fetch_only(await clients.login(broker, mallory), {marker})


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"), ["localhost", "127.0.0.1"])


def last_updated_long_ago() -> ssl.SSLContext:
    """Return a client that speaks TLS 1.1 at most and trusts everybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.minimum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


async def test_tls_lets_in_who_trusts_the_ca_and_answers_nobody_without_it(
    own_broker: Make, certificates: Certificates, clients: Clients, tmp_path: Path
) -> None:
    broker = own_broker(options=Options(tls=certificates))
    alice, bob = "user000-1", "user001-1"
    (topic,) = await send(await clients.login(broker, alice), alice, bob, 1)
    await fetch_all(await clients.login(broker, bob), {topic})

    other = make_certificates(tmp_path / "other", ["localhost"])
    strict = ssl.create_default_context(cafile=str(other.ca))
    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncio.open_connection(
            "127.0.0.1", broker.port, ssl=strict, server_hostname="localhost"
        )
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", broker.port, ssl=last_updated_long_ago())
    plain = await asyncio.open_connection("127.0.0.1", broker.port)
    plain[1].write(connect_packet(alice, alice, broker.logins[alice]))
    with contextlib.suppress(ConnectionError):
        assert (await plain[0].read(4))[:1] != b"\x20"
    plain[1].close()


async def test_websocket_carries_what_mqtt_does_where_the_broker_has_it(
    broker_name: str, own_broker: Make
) -> None:
    if broker_name == "mosquitto":
        with pytest.raises(NoWebSocketError, match="WebSocket on every address"):
            own_broker(options=Options(websocket=True))
        return
    broker = own_broker(options=Options(websocket=True))
    alice, bob = "user000-1", "user001-1"
    topics = [mail_topic(number, alice, bob) for number in range(3)]
    sizes = dict(zip(topics, (1, 300, MAX_ENVELOPE_BYTES), strict=True))
    async with MqttTransport([broker.ws_url], Login(alice, broker.logins[alice])).connect() as one:
        for topic, size in sizes.items():
            await one.publish(topic, b"x" * size, retain=True)
    found: dict[str, int] = {}
    async with (
        MqttTransport([broker.ws_url], Login(bob, broker.logins[bob])).connect() as other,
        asyncio.TaskGroup() as group,
        asyncio.timeout(ALL_SECONDS),
    ):
        asking = group.create_task(subscribe_again(other, bob))
        async for incoming in other.incoming():
            found[incoming.topic] = len(incoming.payload)
            if len(found) == len(sizes):
                break
        asking.cancel()
    assert found == sizes


async def subscribe_again(connection: Connection, login: str) -> None:
    """Ask for what waits until cancelled."""
    while True:
        await connection.subscribe(inbox_filter(DeviceAddress(login)))
        await asyncio.sleep(1)  # NATS may hand over a part, and tells nobody
