"""SUBSCRIBE and UNSUBSCRIBE: codes, matching, replacing, overlapping."""

import pytest

from tests.conformance.client import Client, Clients
from tests.conformance.packets import FAILURE, SUBACK, UNSUBACK, Hello, subscribe, unsubscribe

MATCHES = [
    ("sport/tennis/player1/#", "sport/tennis/player1", True),
    ("sport/tennis/player1/#", "sport/tennis/player1/ranking", True),
    ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
    ("sport/#", "sport", True),
    ("sport/#", "sports", False),
    ("#", "a", True),
    ("#", "/a/b", True),
    ("sport/tennis/+", "sport/tennis/player1", True),
    ("sport/tennis/+", "sport/tennis/player1/ranking", False),
    ("sport/+", "sport", False),
    ("sport/+", "sport/", True),
    ("+", "/finance", False),
    ("+/+", "/finance", True),
    ("/+", "/finance", True),
    ("+/tennis/#", "sport/tennis", True),
    ("sport/+/player1", "sport/tennis/player1", True),
    ("sport/+/player1", "sport/a/b/player1", False),
    ("+/b/+/d", "a/b/c/d", True),
    ("a//b", "a/b", False),
    ("a/+/b", "a//b", True),
    ("A/b", "a/b", False),
    # MQTT-4.7.2-1
    ("#", "$test/a", False),
    ("+/a", "$test/a", False),
    ("+/+", "$test/a", False),
    ("+/#", "$test/a", False),
    ("$test/#", "$test/a", True),
    ("$test/+", "$test/a", True),
    ("$test/a", "$test/a", True),
    ("a/#", "a/$test", True),
    ("+/$test", "a/$test", True),
]

LAST = "last/one"


@pytest.mark.parametrize(("topic_filter", "topic", "expected"), MATCHES)
async def test_a_filter_matches_as_the_standard_says(
    publisher: Client, subscriber: Client, topic_filter: str, topic: str, expected: bool
) -> None:
    """MQTT-4.7.1-1 to MQTT-4.7.3-4, MQTT-3.3.2-3; by a live and by a retained message."""
    await publisher.publish(topic, b"kept", retain=True)
    await publisher.publish(LAST, b"last", retain=True)
    await subscriber.subscribe(topic_filter, qos=1)
    await subscriber.subscribe(LAST, qos=1)
    retained = []
    while (message := (await subscriber.messages(1))[0]).topic != LAST:
        retained.append(message.short)
    await publisher.publish(topic, b"live")
    live = [message.short for message in await subscriber.all_until_end(publisher)]
    live = [found for found in live if found[0] == topic]
    assert retained == ([(topic, b"kept", 1)] if expected else [])
    assert live == ([(topic, b"live", 1)] if expected else [])


async def test_many_filters_are_answered_in_one_suback_in_their_order(
    subscriber: Client, on_mosquitto: bool
) -> None:
    """MQTT-3.8.4-1, -2, -4, -5, MQTT-3.9.3-1, MQTT-3.9.3-2, MQTT-2.3.1-7."""
    wanted = (("a", 2), ("forbidden/a", 1), ("b/+", 0), ("forbidden/#", 2), ("c/#", 1))
    subscriber.send(subscribe(*wanted, packet_id=65_535))
    answer = await subscriber.expect(SUBACK)
    assert answer.packet_id == 65_535
    expected = [2, FAILURE, 0, FAILURE, 1]
    assert list(answer.body[2:]) == ([2, 1, 0, 2, 1] if on_mosquitto else expected)


async def test_a_filter_that_is_refused_delivers_nothing(
    publisher: Client, subscriber: Client
) -> None:
    await subscriber.subscribe("forbidden/a", "forbidden/#", qos=1)
    await publisher.publish("forbidden/a", b"x", retain=True)
    assert await subscriber.all_until_end(publisher) == []


@pytest.mark.parametrize(("first", "second"), [(0, 2), (2, 0), (1, 1), (2, 1)])
async def test_the_same_filter_again_replaces_its_qos(
    publisher: Client, subscriber: Client, first: int, second: int
) -> None:
    """MQTT-3.8.4-3: one subscription, one copy."""
    await subscriber.subscribe("a/+", qos=first)
    await subscriber.subscribe("a/+", qos=second)
    await publisher.publish("a/b", b"x", 2)
    assert [m.qos for m in await subscriber.all_until_end(publisher)] == [second]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize("published", [0, 1, 2])
async def test_filters_that_overlap_deliver_at_the_highest_qos(
    publisher: Client,
    subscriber: Client,
    order: tuple[int, ...],
    published: int,
    on_mosquitto: bool,
) -> None:
    """MQTT-3.3.5-1: one copy at the highest, or one for each filter at its own."""
    if on_mosquitto and published and order[0]:
        pytest.skip("Mosquitto 2.0.11 takes the first filter's QoS")
    for topic_filter, qos in zip(("a/#", "a/+", "a/b"), order, strict=True):
        await subscriber.subscribe(topic_filter, qos=qos)
    await publisher.publish("a/b", b"x", published)
    found = sorted(message.qos for message in await subscriber.all_until_end(publisher))
    each = sorted(min(published, qos) for qos in order)
    assert found in ([min(published, 2)], each)


async def test_no_message_follows_the_unsuback(publisher: Client, subscriber: Client) -> None:
    """MQTT-3.10.4-1, -2, -4."""
    await subscriber.subscribe("a/+", "b")
    await subscriber.unsubscribe("a/+")
    await publisher.publish("a/x", b"gone")
    await publisher.publish("b", b"stays")
    assert [m.topic for m in await subscriber.all_until_end(publisher)] == ["b"]


async def test_a_filter_is_unsubscribed_by_its_characters_alone(
    publisher: Client, subscriber: Client
) -> None:
    """MQTT-3.10.4-1: a wildcard in UNSUBSCRIBE matches no other filter."""
    await subscriber.subscribe("a/b", "a/+")
    await subscriber.unsubscribe("a/#", "#", "a/c", "A/b")
    await subscriber.unsubscribe("a/+")
    await publisher.publish("a/b", b"x")
    assert [m.topic for m in await subscriber.all_until_end(publisher)] == ["a/b"]


async def test_unsubscribing_from_what_was_not_subscribed_is_acknowledged(
    subscriber: Client,
) -> None:
    """MQTT-3.10.4-5."""
    await subscriber.unsubscribe("never/subscribed")


async def test_many_filters_are_unsubscribed_by_one_packet(
    publisher: Client, subscriber: Client
) -> None:
    """MQTT-3.10.4-6."""
    await subscriber.subscribe("a", "b", "c")
    subscriber.send(unsubscribe("a", "c", packet_id=300))
    assert (await subscriber.expect(UNSUBACK)).packet_id == 300
    for topic in "abc":
        await publisher.publish(topic)
    assert [m.topic for m in await subscriber.all_until_end(publisher)] == ["b"]


async def test_a_delivery_begun_before_unsubscribe_is_completed(
    publisher: Client, subscriber: Client
) -> None:
    """MQTT-3.10.4-3."""
    await subscriber.subscribe("a")
    await publisher.publish("a", b"begun", 2)
    message = await subscriber.message()
    await subscriber.unsubscribe("a")
    await subscriber.acknowledge(message)


async def test_a_clean_session_ends_its_subscriptions(clients: Clients, publisher: Client) -> None:
    first = await clients.connect(Hello("same"))
    await first.subscribe("a")
    await first.disconnect()
    second = await clients.connect(Hello("same"))
    await publisher.publish("a")
    assert await second.all_until_end(publisher) == []


async def test_a_filter_at_the_limit_of_levels_and_bytes_works(
    publisher: Client, subscriber: Client
) -> None:
    """The shipped bounds: 8 levels and 512 bytes."""
    for topic in ("1/2/3/4/5/6/7/8", "n" * 512):
        assert await subscriber.subscribe(topic) == [2]
        await publisher.publish(topic, b"x", 2)
        assert [m.topic for m in await subscriber.messages(1)] == [topic]
