"""A third user with a valid login: sees no foreign message, erases, forges and kicks nobody.

Each test names the attack of the threat list (A34 to A40) and runs before and after a restart of
the broker, because what is loaded from disk must be guarded like what just arrived.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest

from broker.embedded import EmbeddedBroker
from broker.settings import BrokerSettings
from tests.brokers.eventually import eventually
from tests.brokers.memory_credentials import MemoryCredentials
from tests.brokers.names import (
    ALICE,
    BOB,
    ENROLLING,
    MALLORY,
    SECRETS,
    mail_topic,
    numbered_id,
    waiting,
)
from tests.brokers.raw_client import QUIET_SECONDS, RawClient
from tests.conformance.packets import Will

MAIL = {mail_topic(1): b"sealed one", mail_topic(2): b"sealed two"}
FOREIGN_FILTERS = [
    "#",
    "+/#",
    "+/+/+/+/+/+",
    "/#",
    "v1/#",
    "v1/u/#",
    "v1/u/+/#",
    "v1/u/+/in/+/+",
    "v1/u/+/in/mallory-1/+",
    "v1/u/bob-1/#",
    "v1/u/bob-1/in/+/+",
    "v1/u/mallory-1",
    "v1/u/mallory-1/../bob-1/#",
    "v1/kd/#",
    "v1/kd/req/+/+",
    "v1/kd/enrolled/+",
    mail_topic(1),
    "$share/g/#",
    "$share/g/v1/u/bob-1/#",
    "$share/g/v1/u/mallory-1/#",
    "$SYS/#",
    "$MQTT/#",
    "$JS/#",
]


@pytest.fixture(params=["before a restart", "after a restart"])
async def besieged(
    request: pytest.FixtureRequest, settings: BrokerSettings, credentials: MemoryCredentials
) -> AsyncIterator[EmbeddedBroker]:
    """A broker with two waiting messages from alice to bob."""
    running = EmbeddedBroker(settings, credentials)
    await running.start()
    alice = await RawClient.login(running.port, ALICE)
    for topic, payload in MAIL.items():
        assert await alice.publish(topic, payload)
    await alice.disconnect()
    if request.param == "after a restart":
        await running.stop()
        running = EmbeddedBroker(settings, credentials)
        await running.start()
    yield running
    await running.stop()


async def mosquitto(program: str, port: int, login: str, *arguments: str) -> bytes:
    """Run a mosquitto client as ``login`` for at most a second; what it printed."""
    process = await asyncio.create_subprocess_exec(
        program,
        *("-h", "127.0.0.1", "-p", str(port), "-i", login, "-u", login, "-P", SECRETS[login]),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    output, _ = await process.communicate()
    return output


@pytest.mark.parametrize("qos", [0, 1])
async def test_a34_a35_no_filter_shows_a_foreign_message(
    besieged: EmbeddedBroker, qos: int
) -> None:
    mallory = await RawClient.login(besieged.port, MALLORY)
    assert await mallory.subscribe(*FOREIGN_FILTERS, qos=qos) == [0x80] * len(FOREIGN_FILTERS)
    alice = await RawClient.login(besieged.port, ALICE)
    await alice.publish(mail_topic(3), b"live")
    assert await mallory.until_quiet() == []
    await alice.disconnect()
    await mallory.disconnect()


@pytest.mark.parametrize(
    "topic_filter", ["#", "v1/u/bob-1/#", "$share/g/#", "$share/g/v1/u/bob-1/#"]
)
async def test_a34_a35_mosquitto_sub_prints_nothing_foreign(
    besieged: EmbeddedBroker, topic_filter: str
) -> None:
    arguments = ("-t", topic_filter, "-v", "-W", "1")
    assert await mosquitto("mosquitto_sub", besieged.port, MALLORY, *arguments) == b""


async def test_mosquitto_sub_prints_the_owners_mail(besieged: EmbeddedBroker) -> None:
    arguments = ("-t", "v1/u/bob-1/#", "-v", "-C", "2", "-W", "3")
    printed = await mosquitto("mosquitto_sub", besieged.port, BOB, *arguments)
    assert printed.splitlines() == [b" ".join((t.encode(), p)) for t, p in MAIL.items()]


@pytest.mark.parametrize("payload", [["-n"], ["-m", "forged"]])
@pytest.mark.parametrize("qos", ["0", "1", "2"])
async def test_a36_mosquitto_pub_erases_and_forges_nothing(
    besieged: EmbeddedBroker, payload: list[str], qos: str
) -> None:
    for topic in (mail_topic(1), mail_topic(9)):
        arguments = ("-t", topic, "-r", "-q", qos, *payload)
        await mosquitto("mosquitto_pub", besieged.port, MALLORY, *arguments)
    assert waiting(besieged) == MAIL


@pytest.mark.parametrize("login", [MALLORY, ENROLLING])
@pytest.mark.parametrize("retain", [True, False])
@pytest.mark.parametrize("qos", [0, 1])
async def test_a36_no_publish_reaches_or_changes_foreign_mail(
    besieged: EmbeddedBroker, login: str, retain: bool, qos: int
) -> None:
    bob = await RawClient.login(besieged.port, BOB)
    await bob.subscribe("v1/u/bob-1/#")
    await bob.until(len(MAIL))
    attacker = await RawClient.login(besieged.port, login)
    for topic in (
        mail_topic(1),
        mail_topic(5),
        f"v1/u/bob-1/kd/{numbered_id(1)}",
        f"v1/u/bob-1/kd/event/{numbered_id(1)}",
        f"v1/u/bob-1/notice/{numbered_id(1)}",
        f"v1/kd/req/bob-1/{numbered_id(1)}",
        f"v1/kd/enrolled/{numbered_id(0)}",
        "$SYS/broker/uptime",
        "/v1/u/bob-1/in",
    ):
        for payload in (b"forged", b""):
            assert await attacker.publish(topic, payload, qos=qos, retain=retain)
    assert await attacker.ping()
    assert len(await bob.until_quiet()) == len(MAIL)
    assert waiting(besieged) == MAIL
    await bob.disconnect()
    await attacker.disconnect()


async def test_a36_the_sender_may_clear_but_the_recipient_may_not_plant(
    besieged: EmbeddedBroker,
) -> None:
    bob = await RawClient.login(besieged.port, BOB)
    await bob.publish(mail_topic(7), b"planted in my own tree")
    await bob.publish(mail_topic(1), b"changed in my own tree")
    assert waiting(besieged) == MAIL
    await bob.publish(mail_topic(1), b"")
    alice = await RawClient.login(besieged.port, ALICE)
    await alice.publish(mail_topic(2), b"")
    assert waiting(besieged) == {}
    await bob.disconnect()
    await alice.disconnect()


@pytest.mark.parametrize("payload", [b"forged", b""])
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("retain", [True, False])
async def test_a37_a_last_will_forges_and_erases_nothing(
    besieged: EmbeddedBroker, payload: bytes, qos: int, retain: bool
) -> None:
    for topic in (mail_topic(1), mail_topic(9)):
        mallory = await RawClient.open(besieged.port)
        will = Will(topic, payload, qos=qos, retain=retain)
        code = await mallory.connect(MALLORY, MALLORY, SECRETS[MALLORY], will=will)
        assert code == 5
        mallory.abort()
    assert waiting(besieged) == MAIL


async def test_a37_a_will_within_ones_rights_is_published(besieged: EmbeddedBroker) -> None:
    topic = mail_topic(4, sender=MALLORY)
    mallory = await RawClient.open(besieged.port)
    will = Will(topic, b"sealed will", qos=1, retain=True)
    assert await mallory.connect(MALLORY, MALLORY, SECRETS[MALLORY], will=will) == 0
    bob = await RawClient.login(besieged.port, BOB)
    await bob.subscribe("v1/u/bob-1/in/mallory-1/+")
    mallory.abort()
    assert [message.payload for message in await bob.until(1)] == [b"sealed will"]
    await bob.disconnect()


@pytest.mark.parametrize(
    ("username", "password", "clean"),
    [
        (MALLORY, SECRETS[MALLORY], True),
        (MALLORY, SECRETS[MALLORY], False),
        (BOB, "wrong", True),
        (BOB, "wrong", False),
        (BOB, "", True),
        (BOB, SECRETS[BOB] + "x", True),
        (BOB, SECRETS[MALLORY], True),
        ("", "", True),
    ],
)
async def test_a38_nobody_is_kicked_by_a_login_that_is_not_theirs(
    besieged: EmbeddedBroker, username: str, password: str, clean: bool
) -> None:
    bob = await RawClient.login(besieged.port, BOB)
    await bob.subscribe("v1/u/bob-1/#")
    await bob.until(len(MAIL))
    attacker = await RawClient.open(besieged.port)
    assert await attacker.connect(BOB, username, password, clean=clean) == 5
    assert await attacker.is_closed()
    alice = await RawClient.login(besieged.port, ALICE)
    await alice.publish(mail_topic(3), b"live")
    assert (await bob.until(len(MAIL) + 1))[-1].payload == b"live"
    for client in (alice, bob, attacker):
        await client.close()


async def test_a38_mosquitto_sub_with_the_victims_client_id_kicks_nobody(
    besieged: EmbeddedBroker,
) -> None:
    bob = await RawClient.login(besieged.port, BOB)
    arguments = ("-i", BOB, "-t", "v1/u/bob-1/#", "-v", "-W", "1")
    assert await mosquitto("mosquitto_sub", besieged.port, MALLORY, *arguments) == b""
    assert await bob.ping()
    await bob.disconnect()


@pytest.mark.parametrize(
    "login",
    ["#", "+", "v1/u/bob-1", "bob-1/..", "%u", "bob-0", "bob-128", "_admin", "_enroll-x", ""],
)
async def test_a39_a_name_that_is_no_login_gets_nothing_even_with_a_secret(
    besieged: EmbeddedBroker, credentials: MemoryCredentials, login: str
) -> None:
    credentials.put(login, "known to the store by mistake")
    client = await RawClient.open(besieged.port)
    assert await client.connect(login, login, "known to the store by mistake") == 5
    assert await client.is_closed()
    await client.close()


async def test_a40_a_revoked_login_is_closed_and_cannot_return(
    besieged: EmbeddedBroker, credentials: MemoryCredentials
) -> None:
    bob = await RawClient.login(besieged.port, BOB)
    await bob.subscribe("v1/u/bob-1/#")
    await bob.until(len(MAIL))
    alice = await RawClient.login(besieged.port, ALICE)
    credentials.revoke(BOB)
    assert await bob.is_closed(seconds=2)
    assert await alice.ping()
    again = await RawClient.open(besieged.port)
    assert await again.connect(BOB, BOB, SECRETS[BOB]) == 5
    for client in (alice, bob, again):
        await client.close()


async def test_a40_a_changed_secret_ends_the_old_connection_at_once_when_asked(
    besieged: EmbeddedBroker, credentials: MemoryCredentials
) -> None:
    bob = await RawClient.login(besieged.port, BOB)
    credentials.put(BOB, "another")
    besieged.check_credentials()
    assert await bob.is_closed(seconds=QUIET_SECONDS)
    again = await RawClient.login(besieged.port, BOB, "another")
    await bob.close()
    await again.disconnect()


async def test_a40_the_last_will_of_a_revoked_login_is_not_published(
    besieged: EmbeddedBroker, credentials: MemoryCredentials
) -> None:
    mallory = await RawClient.open(besieged.port)
    will = Will(mail_topic(4, sender=MALLORY), b"sealed will", qos=1, retain=True)
    assert await mallory.connect(MALLORY, MALLORY, SECRETS[MALLORY], will=will) == 0
    credentials.revoke(MALLORY)
    engine = besieged._engine
    assert engine is not None
    besieged.check_credentials()
    await eventually(lambda: MALLORY not in engine.clients.connections)
    assert waiting(besieged) == MAIL
    await mallory.close()
