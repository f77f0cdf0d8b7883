"""Attacks A34 to A39 and A41 on every broker: what a stranger with a login of his own can do.

What counts is what he receives and what is left, not what the broker answers: Mosquitto grants a
forbidden SUBSCRIBE and hands over nothing, and every broker acknowledges a forbidden PUBLISH.
"""

from client_sdk.wire.ids import DIRECTORY_LOGIN, DeviceAddress
from client_sdk.wire.topics import inbox_filter
from tests.brokers.contract.clients import Clients, Device, fetch_all, send
from tests.brokers.contract.conftest import Make, People
from tests.brokers.contract.under_test import LOGIN_REFUSED, BrokerUnderTest
from tests.brokers.names import mail_topic
from tests.brokers.raw_client import connect_packet
from tests.conformance.packets import Hello, Will

REFUSED = 0x80

WILDCARDS = (
    *("#", "+/#", "/#", "v1/#", "v1/u/#", "v1/u/+/in/+/+", "v1/u/+/in/#", "v1/+/+/in/+/+"),
    *("$SYS/#", "$MQTT/#", "$JS/#", "$CONTROL/#", "v1/kd/req/#", "v1/kd/+/+/+"),
)
SHARED = ("$share/g/{tree}", "$share/g/#", "$share/g/v1/u/+/in/+/+", "$queue/{tree}")
STRANGE_NAMES = ("#", "+", "a/b", "*", ">", "%u", "_kd2", "v1", "alice-1/#", "alice-1.>", "")


async def eavesdrop(
    broker: BrokerUnderTest, clients: Clients, login: str, filters: list[str]
) -> Device:
    """Subscribe to all that the broker leaves of these filters, and to one's own inbox."""
    client = await clients.login(broker, login)
    for topic_filter in [*filters, inbox_filter(DeviceAddress(login))]:
        if await client.subscribe(topic_filter) is None:
            client = await clients.login(broker, login)
    return client


async def hears_nothing_of(
    broker: BrokerUnderTest, clients: Clients, people: tuple[str, str, str], filters: list[str]
) -> None:
    """Let alice write to bob and then to mallory, who hears the second only."""
    alice, bob, mallory = people
    spy = await eavesdrop(broker, clients, mallory, filters)
    sender = await clients.login(broker, alice)
    await send(sender, alice, bob, 5)
    (marker,) = await send(sender, alice, mallory, 1)
    await spy.until(1)
    await spy.until_quiet()
    assert {one.topic for one in spy.messages} == {marker}


async def test_a34_no_wildcard_reads_what_is_for_others(
    broker: BrokerUnderTest, person: People, clients: Clients
) -> None:
    alice, bob, mallory = person(), person(), person()
    await send(await clients.login(broker, alice), alice, bob, 5)
    one = await clients.login(broker, mallory)
    for topic_filter in WILDCARDS:
        codes = await one.subscribe(topic_filter)
        allowed = codes is None or codes == [REFUSED] or not broker.limits.refuses_filters
        assert allowed, topic_filter
        if codes is None:
            one = await clients.login(broker, mallory)
    assert await one.until_quiet() == []
    await hears_nothing_of(broker, clients, (alice, bob, mallory), list(WILDCARDS))


async def test_a35_no_shared_subscription_takes_what_is_for_others(
    broker: BrokerUnderTest, person: People, clients: Clients
) -> None:
    alice, bob, mallory = person(), person(), person()
    recipient = await clients.login(broker, bob)
    await recipient.subscribe(inbox_filter(DeviceAddress(bob)))
    filters = [one.format(tree=f"v1/u/{bob}/#") for one in SHARED]
    await hears_nothing_of(broker, clients, (alice, bob, mallory), filters)
    assert len(await recipient.until(5)) == 5


async def test_a36_nobody_else_deletes_or_replaces_a_waiting_message(
    broker: BrokerUnderTest, person: People, clients: Clients
) -> None:
    alice, bob, mallory = person(), person(), person()
    (topic,) = await send(await clients.login(broker, alice), alice, bob, 1)
    stranger = await clients.login(broker, mallory)
    for payload in (b"", b"forged"):
        for qos in (0, 1):
            await stranger.publish(topic, payload, qos=qos)
            await stranger.publish(mail_topic(9, alice, bob), b"forged", qos=qos)
    # What a stranger sends last arrives after all that he may have done before.
    marker = mail_topic(0, mallory, bob)
    await stranger.publish(marker, b"own")
    recipient = await clients.login(broker, bob)
    waiting = await fetch_all(recipient, {topic, marker})
    assert waiting.mail == {topic: b"0", marker: b"own"}


async def fall_silent(broker: BrokerUnderTest, clients: Clients, login: str, will: Will) -> None:
    """Leave a last will, where the broker takes it, and end the connection without a word."""
    dying = await clients.open(broker)
    await dying.connect(login, login, broker.logins[login], will=will)
    dying.abort()


async def test_a37_a_last_will_neither_forges_nor_deletes(
    broker: BrokerUnderTest, person: People, clients: Clients
) -> None:
    alice, bob, mallory = person(), person(), person()
    (topic,) = await send(await clients.login(broker, alice), alice, bob, 1)
    wills = [
        Will(topic, b"", 1, retain=True),
        Will(topic, b"", 0, retain=True),
        Will(topic, b"forged", 1, retain=True),
        Will(mail_topic(9, alice, bob), b"forged", 1, retain=True),
        Will(f"v1/kd/req/{alice}/{topic[-26:]}", b"forged", 1),
    ]
    watching = await clients.login(broker, DIRECTORY_LOGIN)
    await watching.subscribe("v1/kd/req/+/+")
    # Each of a stranger of its own: NATS refuses who takes over a connection within a second.
    for will in wills:
        await fall_silent(broker, clients, person(), will)
    marker = mail_topic(0, mallory, bob)
    await fall_silent(broker, clients, mallory, Will(marker, b"own", 1, retain=True))
    recipient = await clients.login(broker, bob)
    waiting = await fetch_all(recipient, {topic, marker})
    assert waiting.mail == {topic: b"0", marker: b"own"}
    assert await watching.until_quiet() == []
    await watching.disconnect()


async def test_a38_a_login_under_another_ones_client_id_reads_nothing(
    broker: BrokerUnderTest, person: People, clients: Clients
) -> None:
    alice, bob, mallory = person(), person(), person()
    victim = await clients.login(broker, bob)
    await victim.subscribe(inbox_filter(DeviceAddress(bob)))
    thief = await clients.open(broker)
    code = await thief.connect(bob, mallory, broker.logins[mallory], clean=False)
    assert (code == 0) is (broker.limits.foreign_client_id == "renamed")
    await send(await clients.login(broker, alice), alice, bob, 1)
    assert len(await victim.until(1)) == 1
    if code == 0:
        assert await thief.until_quiet() == []


async def test_a38_a_wrong_password_under_another_ones_client_id_disturbs_nobody(
    broker: BrokerUnderTest, person: People, clients: Clients
) -> None:
    alice, bob, mallory = person(), person(), person()
    victim = await clients.login(broker, bob)
    await victim.subscribe(inbox_filter(DeviceAddress(bob)))
    for name in (bob, mallory):
        thief = await clients.open(broker)
        assert await thief.connect(bob, name, "wrong") in LOGIN_REFUSED
    await send(await clients.login(broker, alice), alice, bob, 1)
    assert len(await victim.until(1)) == 1


def test_a39_names_that_are_patterns_are_not_let_in_though_the_table_has_them(
    broker: BrokerUnderTest,
) -> None:
    for name in STRANGE_NAMES:
        broker.put(name, "secret")
    broker.add("later-1", "secret")  # let in after they were written: the broker was told of all
    for name in STRANGE_NAMES:
        for client_id in (name, "alice-1", "later-1"):
            code = broker.answer_to(connect_packet(client_id, name, "secret"))
            assert code != 0, f"{name} as {client_id}"
    broker.until_let_in("later-1", broker.port)


def test_a41_nobody_is_let_in_without_a_name_and_its_password(
    broker: BrokerUnderTest, person: People
) -> None:
    login = person()
    anonymous, named = Hello(login), Hello(login, username=login)
    for first in (anonymous.packet, named.packet, connect_packet(login, login, "")):
        assert broker.answer_to(first) in (*LOGIN_REFUSED, None)
    broker.until_let_in(login, broker.port)


def test_a41_a_broker_without_logins_lets_nobody_in(own_broker: Make) -> None:
    broker = own_broker({})
    for password in ("", "secret of user000-1"):
        assert broker.answers("user000-1", password) in (*LOGIN_REFUSED, None)


async def test_a_device_writes_no_answers_of_the_directory(
    broker: BrokerUnderTest, person: People, clients: Clients
) -> None:
    alice, mallory = person(), person()
    device = await clients.login(broker, alice)
    await device.subscribe(f"v1/u/{alice}/#")
    stranger = await clients.login(broker, mallory)
    for topic in (f"v1/u/{alice}/kd/{'a' * 26}", f"v1/u/{alice}/kd/event/{'a' * 26}"):
        await stranger.publish(topic, b"forged")
    (marker,) = await send(stranger, mallory, alice, 1)
    assert {one.topic for one in await device.until(1)} == {marker}
    await fetch_all(device, {marker})
