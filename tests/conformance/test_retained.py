"""Retained messages: kept, replaced, cleared and replayed (section 3.3.1.3)."""

import pytest

from tests.conformance.client import Client, Clients
from tests.conformance.packets import SUBACK, Hello, publish, subscribe

LAST = "last/one"
"""Subscribed to last, so that it is replayed after all that a test looks for."""


async def replay(client: Client, topic_filter: str = "kept/#", qos: int = 2) -> dict[str, bytes]:
    """Subscribe and return what is replayed before ``LAST``, each with RETAIN set."""
    await client.publish(LAST, b"last", retain=True)
    await client.subscribe(topic_filter, qos=qos)
    await client.subscribe(LAST, qos=qos)
    found: dict[str, bytes] = {}
    while True:
        message = await client.acknowledge(await client.message())
        assert message.retain
        if message.topic == LAST:
            return found
        assert message.topic not in found, "replayed twice"
        found[message.topic] = message.payload


@pytest.mark.parametrize("kept", [0, 1, 2])
@pytest.mark.parametrize("granted", [0, 1, 2])
async def test_a_new_subscriber_is_sent_the_retained_message(
    publisher: Client, subscriber: Client, kept: int, granted: int
) -> None:
    """MQTT-3.3.1-5, MQTT-3.3.1-6, MQTT-3.3.1-8, MQTT-3.8.4-6."""
    await publisher.publish("kept/a", b"payload", kept, retain=True)
    assert await subscriber.subscribe("kept/a", qos=granted) == [granted]
    (message,) = await subscriber.messages(1)
    assert message.short == ("kept/a", b"payload", min(kept, granted))
    assert message.retain
    assert not message.dup


async def test_the_suback_comes_with_the_replay_and_both_are_whole(
    publisher: Client, subscriber: Client
) -> None:
    for name in "abc":
        await publisher.publish(f"kept/{name}", name.encode(), retain=True)
    subscriber.send(subscribe(("kept/+", 1), packet_id=77))
    assert (await subscriber.expect(SUBACK)).packet_id == 77
    found = await subscriber.messages(3)
    assert sorted(message.payload for message in found) == [b"a", b"b", b"c"]


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_one_who_had_subscribed_sees_it_as_live(
    publisher: Client, subscriber: Client, qos: int
) -> None:
    """MQTT-3.3.1-9."""
    await subscriber.subscribe("kept/a")
    await publisher.publish("kept/a", b"x", qos, retain=True)
    (message,) = await subscriber.messages(1)
    assert (message.retain, message.qos) == (False, qos)


@pytest.mark.parametrize("second", [0, 1, 2])
@pytest.mark.parametrize("first", [0, 1, 2])
async def test_the_last_retained_message_of_a_topic_replaces_the_one_before(
    publisher: Client, subscriber: Client, first: int, second: int
) -> None:
    """MQTT-3.3.1-5, MQTT-3.3.1-7."""
    await publisher.publish("kept/a", b"old", first, retain=True)
    await publisher.publish("kept/a", b"new", second, retain=True)
    await subscriber.subscribe("kept/a")
    (message,) = await subscriber.messages(1)
    assert message.short == ("kept/a", b"new", second)


async def test_an_equal_message_at_another_qos_replaces_it_too(
    publisher: Client, subscriber: Client
) -> None:
    await publisher.publish("kept/a", b"same", 2, retain=True)
    await publisher.publish("kept/a", b"same", 0, retain=True)
    await subscriber.subscribe("kept/a")
    assert [message.qos for message in await subscriber.messages(1)] == [0]


@pytest.mark.parametrize("clearing", [0, 1, 2])
@pytest.mark.parametrize("kept", [0, 1, 2])
async def test_an_empty_retained_message_clears_and_is_not_kept(
    publisher: Client, subscriber: Client, kept: int, clearing: int
) -> None:
    """MQTT-3.3.1-10, MQTT-3.3.1-11."""
    await publisher.publish("kept/a", b"x", kept, retain=True)
    await publisher.publish("kept/a", b"", clearing, retain=True)
    await publisher.publish("kept/never", b"", clearing, retain=True)
    assert await replay(subscriber) == {}


async def test_the_clearing_message_itself_reaches_the_subscribers(
    publisher: Client, subscriber: Client
) -> None:
    """MQTT-3.3.1-10."""
    await subscriber.subscribe("kept/a")
    await publisher.publish("kept/a", b"", retain=True)
    (message,) = await subscriber.messages(1)
    assert (message.payload, message.retain) == (b"", False)


@pytest.mark.parametrize("payload", [b"", b"live"])
async def test_a_message_without_retain_neither_replaces_nor_clears(
    publisher: Client, subscriber: Client, payload: bytes
) -> None:
    """MQTT-3.3.1-12."""
    await publisher.publish("kept/a", b"kept", retain=True)
    await publisher.publish("kept/a", payload)
    await publisher.publish("kept/b", payload)
    assert await replay(subscriber) == {"kept/a": b"kept"}


async def test_retained_messages_outlive_the_session_that_sent_them(clients: Clients) -> None:
    """MQTT-3.1.2-7."""
    for number, clean in enumerate((True, False)):
        gone = await clients.connect(Hello(f"gone{number}", clean=clean))
        await gone.publish(f"kept/{number}", b"x", retain=True)
        await gone.disconnect()
    again = await clients.connect(Hello("gone1"))
    assert await replay(again) == {"kept/0": b"x", "kept/1": b"x"}


async def test_the_same_filter_again_is_replayed_again(
    publisher: Client, subscriber: Client
) -> None:
    """MQTT-3.8.4-3."""
    await publisher.publish("kept/a", b"x", retain=True)
    for qos in (1, 2, 0):
        await subscriber.subscribe("kept/+", qos=qos)
        (message,) = await subscriber.messages(1)
        assert (message.retain, message.qos) == (True, min(1, qos))


async def test_one_who_unsubscribed_is_replayed_nothing_later(
    publisher: Client, subscriber: Client
) -> None:
    await subscriber.subscribe("kept/a")
    await subscriber.unsubscribe("kept/a")
    await publisher.publish("kept/a", b"x", retain=True)
    assert await subscriber.all_until_end(publisher) == []


@pytest.mark.parametrize(
    ("topic_filter", "expected"),
    [
        ("kept/#", {"kept", "kept/a", "kept/a/b", "kept/c/b"}),
        ("kept/+", {"kept/a"}),
        ("kept/+/b", {"kept/a/b", "kept/c/b"}),
        ("+/a", {"kept/a"}),
        ("kept/a/#", {"kept/a", "kept/a/b"}),
        ("+/+/+", {"kept/a/b", "kept/c/b"}),
        ("kept", {"kept"}),
        ("kept/a/", set()),
    ],
)
async def test_a_wildcard_replays_what_it_matches(
    publisher: Client, subscriber: Client, topic_filter: str, expected: set[str]
) -> None:
    for name in ("kept", "kept/a", "kept/a/b", "kept/c/b", "other"):
        await publisher.publish(name, b"x", retain=True)
    assert set(await replay(subscriber, topic_filter)) == expected


async def test_filters_that_overlap_replay_each_its_message(
    publisher: Client, subscriber: Client
) -> None:
    """Section 3.8.4: as if each filter had been subscribed alone; one copy or several."""
    await publisher.publish("kept/a", b"x", 2, retain=True)
    await subscriber.subscribe("kept/#", "kept/+", "kept/a")
    found = await subscriber.messages(1)
    found += await subscriber.all_until_end(publisher)
    assert 1 <= len(found) <= 3
    assert {message.short for message in found} == {("kept/a", b"x", 2)}


async def test_a_thousand_retained_messages_arrive_once_each_in_the_order_of_publishing(
    publisher: Client, subscriber: Client, on_mosquitto: bool
) -> None:
    many = range(1, 1001)
    for number in many:
        publisher.send(publish(f"kept/{number}", b"x", 0, retain=True))
    await publisher.ping()
    await subscriber.subscribe("kept/+", qos=1)
    found = [
        int(message.topic.removeprefix("kept/")) for message in await subscriber.messages(1000)
    ]
    assert sorted(found) == list(many)
    assert on_mosquitto or found == list(many)
