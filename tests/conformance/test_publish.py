"""PUBLISH: what is delivered to whom, unchanged, in which order and at which QoS."""

import pytest

from tests.conformance.client import Client, Clients, ClosedError
from tests.conformance.packets import (
    PUBACK,
    Hello,
    Message,
    publish,
)

BIG = 100_000
NAMES = {
    "MQTT-1.5.3-3 U+FEFF is kept": "\ufeffa\ufeff",
    "MQTT-4.7.3-4 no normalisation": "u\u0308/\u00fc/\u212b",
    "outside the basic plane": "😀/𝒳",
    "case matters": "A/a",
    "spaces and dots": " a b/c.d ",
    "an empty level in the middle": "a//b",
    "a slash at the start": "/a",
    "a slash at the end": "a/",
    "a slash alone": "/",
}


@pytest.mark.parametrize("published", [0, 1, 2])
@pytest.mark.parametrize("granted", [0, 1, 2])
async def test_a_message_arrives_at_the_lower_of_both_qos(
    publisher: Client, subscriber: Client, published: int, granted: int
) -> None:
    """MQTT-3.8.4-6, MQTT-3.3.4-1, MQTT-3.3.1-9, MQTT-3.3.1-2."""
    assert await subscriber.subscribe("a/b", qos=granted) == [granted]
    await publisher.publish("a/b", b"payload", published)
    (message,) = await subscriber.all_until_end(publisher)
    qos = min(published, granted)
    assert message[:5] == Message("a/b", b"payload", qos)[:5]
    assert (message.packet_id > 0) is (qos > 0)


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
async def test_a_topic_name_arrives_as_it_was_sent(
    publisher: Client, subscriber: Client, name: str
) -> None:
    await subscriber.subscribe(name)
    await publisher.publish(name, b"x")
    assert [found.topic for found in await subscriber.all_until_end(publisher)] == [name]


async def test_topics_that_differ_by_normalisation_are_two(
    publisher: Client, subscriber: Client
) -> None:
    """MQTT-4.7.3-4."""
    await subscriber.subscribe("u\u0308", "a/b")
    for other in ("\u00fc", "A/b", "/a/b", "a/b/", " a/b", "\ufeffa/b"):
        await publisher.publish(other, b"another")
    assert await subscriber.all_until_end(publisher) == []


@pytest.mark.parametrize(
    "payload", [b"", b"\x00", bytes(range(256)), b"\xff" * BIG], ids=["empty", "NUL", "256", "big"]
)
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_payload_is_opaque(
    publisher: Client, subscriber: Client, payload: bytes, qos: int
) -> None:
    await subscriber.subscribe("a")
    await publisher.publish("a", payload, qos)
    assert await subscriber.messages(1)
    await publisher.publish("a", payload, qos)
    (message,) = await subscriber.messages(1)
    assert message.payload == payload


@pytest.mark.parametrize("length", [0, 1, 122, 123, 16_378, 16_379])
async def test_every_form_of_the_remaining_length_is_understood(
    publisher: Client, subscriber: Client, length: int
) -> None:
    """Section 2.2.3: 127 and 128, 16,383 and 16,384 bytes."""
    await subscriber.subscribe("a/b")
    await publisher.publish("a/b", b"z" * length, 0)
    assert [len(found.payload) for found in await subscriber.messages(1)] == [length]


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_messages_of_one_topic_arrive_in_the_order_they_were_sent(
    publisher: Client, subscriber: Client, qos: int
) -> None:
    """MQTT-4.6.0-5, MQTT-4.6.0-6."""
    await subscriber.subscribe("a")
    for number in range(100):
        await publisher.publish("a", str(number).encode(), qos)
    found = await subscriber.messages(100)
    assert [int(message.payload) for message in found] == list(range(100))


async def test_publishes_are_acknowledged_in_the_order_they_were_sent(publisher: Client) -> None:
    """MQTT-4.6.0-2."""
    numbers = [7, 3, 65_535, 1, 2, 300]
    publisher.send(b"".join(publish("a", b"x", 1, packet_id=number) for number in numbers))
    assert [(await publisher.expect(PUBACK)).packet_id for _ in numbers] == numbers


async def test_after_its_acknowledgement_a_packet_id_stands_for_a_new_message(
    publisher: Client, subscriber: Client
) -> None:
    """MQTT-4.3.2-2: whatever its DUP flag says."""
    await subscriber.subscribe("a")
    for payload, dup in ((b"first", False), (b"second", False), (b"third", True)):
        publisher.send(publish("a", payload, 1, dup=dup, packet_id=9))
        assert (await publisher.expect(PUBACK)).packet_id == 9
    found = await subscriber.all_until_end(publisher)
    assert [message.payload for message in found] == [b"first", b"second", b"third"]


async def test_the_publishers_dup_flag_is_not_handed_on(
    publisher: Client, subscriber: Client
) -> None:
    """MQTT-3.3.1-3."""
    await subscriber.subscribe("a")
    publisher.send(publish("a", b"x", 1, dup=True, packet_id=4))
    await publisher.expect(PUBACK)
    (message,) = await subscriber.all_until_end(publisher)
    assert not message.dup


async def test_every_subscriber_gets_its_own_copy(clients: Clients, publisher: Client) -> None:
    readers = [await clients.connect(Hello(f"reader{number}")) for number in range(20)]
    for number, reader in enumerate(readers):
        await reader.subscribe("a", qos=number % 3)
    await publisher.publish("a", b"to all", 2)
    for number, reader in enumerate(readers):
        assert [found.qos for found in await reader.messages(1)] == [number % 3]


async def test_a_publisher_that_subscribes_receives_its_own_messages(publisher: Client) -> None:
    await publisher.subscribe("a")
    await publisher.publish("a", b"mine")
    assert [found.payload for found in await publisher.messages(1)] == [b"mine"]


async def test_a_publish_that_is_not_allowed_reaches_nobody(
    publisher: Client, subscriber: Client
) -> None:
    """MQTT-3.3.5-2: acknowledged as if it were, or closed."""
    await subscriber.subscribe("#")
    await publisher.publish("forbidden/a", b"x")
    assert [m.topic for m in await subscriber.all_until_end(publisher)] in ([], ["end/of/test"])


async def test_a_packet_over_the_limit_ends_the_connection_alone(
    clients: Clients, publisher: Client, on_mosquitto: bool
) -> None:
    if on_mosquitto:
        pytest.skip("no such limit is set there")
    sender = await clients.connect()
    sender.send(publish("a", bytes(140_000)))
    with pytest.raises(ClosedError):
        await sender.receive()
    await publisher.ping()
