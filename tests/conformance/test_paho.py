"""What the interoperability suite of Eclipse paho asks of a server, asked by paho-mqtt.

Each of its subjects for MQTT 3.1.1 has a test here of our own; the packets under them are looked
at one by one in the other files of this folder.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from paho.mqtt.client import MQTTMessage

from tests.conformance.client import Clients
from tests.conformance.packets import BAD_CLIENT_ID, Hello
from tests.conformance.paho_peer import Paho

TOPICS = ("TopicA", "TopicA/B", "Topic/C", "TopicA/C", "/TopicA")
WILDCARDS = ("TopicA/+", "+/C", "#", "/#", "/+", "+/+", "TopicA/#")


@asynccontextmanager
async def paho(port: int, client_id: str, *, clean: bool = True) -> AsyncIterator[Paho]:
    peer = Paho(client_id, clean=clean)
    assert await peer.connect(port) == 0
    yield peer
    await peer.disconnect()


def shown(messages: list[MQTTMessage]) -> list[tuple[str, bytes, int]]:
    return [(message.topic, message.payload, message.qos) for message in messages]


async def test_basic(port: int) -> None:
    """Messages at each QoS come back to who subscribed."""
    async with paho(port, "myclientid") as a:
        assert await a.subscribe(TOPICS[0]) == 2
        for qos in range(3):
            await a.publish(TOPICS[0], b"qos %d" % qos, qos)
        expected = [(TOPICS[0], b"qos %d" % qos, qos) for qos in range(3)]
        assert sorted(shown(await a.messages(3))) == expected


async def test_retained_messages(port: int) -> None:
    async with paho(port, "a") as a:
        for qos, topic in enumerate((TOPICS[1], TOPICS[2], TOPICS[3])):
            await a.publish(topic, b"qos %d" % qos, qos, retain=True)
        assert await a.subscribe("+/+") == 2
        found = await a.messages(3)
        assert all(message.retain for message in found)
        assert sorted(message.qos for message in found) == [0, 1, 2]
    async with paho(port, "b") as b:
        for qos, topic in enumerate((TOPICS[1], TOPICS[2], TOPICS[3])):
            await b.publish(topic, b"", qos, retain=True)
        await b.publish("last/one", b"last", retain=True)
        await b.subscribe("+/+")
        assert shown(await b.until(b"last")) == []


async def test_offline_message_queueing(port: int) -> None:
    async with paho(port, "away", clean=False) as away:
        await away.subscribe(WILDCARDS[5])
    async with paho(port, "b") as b:
        for qos, topic in enumerate((TOPICS[1], TOPICS[2], TOPICS[3])):
            await b.publish(topic, b"qos %d" % qos, qos)
    async with paho(port, "away", clean=False) as away:
        assert away.session_present
        await away.publish("last/one", b"last", 2)
        found = {message.payload for message in await away.until(b"last")}
        assert {b"qos 1", b"qos 2"} <= found


async def test_will_message(port: int) -> None:
    async with paho(port, "b") as b:
        await b.subscribe(TOPICS[2])
        dying = Paho("dying")
        dying.client.will_set(TOPICS[2], b"client not disconnected", 1, retain=True)
        await dying.connect(port, keepalive=2)
        await dying.break_off()
        (will,) = await b.messages(1)
        assert (will.payload, will.retain) == (b"client not disconnected", False)


async def test_overlapping_subscriptions(port: int, on_mosquitto: bool) -> None:
    """One message or two, the highest QoS among them."""
    if on_mosquitto:
        pytest.skip("Mosquitto 2.0.11 takes the first filter's QoS")
    async with paho(port, "a") as a:
        a.client.subscribe([(WILDCARDS[6], 2), (WILDCARDS[0], 1)])
        assert await a._next("subscribed") == [2, 1]
        await a.publish(TOPICS[3], b"overlapping topic filters", 2)
        await a.publish(TOPICS[3], b"last", 2)
        qos = [message.qos for message in await a.until(b"last")]
        assert sorted(qos) in ([2], [1, 2])


async def test_keepalive(port: int, clients: Clients) -> None:
    """A client that is silent gets its will published, and paho stays with its pings."""
    async with paho(port, "b") as b:
        await b.subscribe("/TopicA")
        silent = Paho("silent")
        silent.client.will_set("/TopicA", b"keepalive expiry")
        await silent.connect(port, keepalive=1)
        await asyncio.to_thread(silent.client.loop_stop)
        assert [m.payload for m in await b.messages(1)] == [b"keepalive expiry"]
        await silent.break_off()


async def test_redelivery_on_reconnect(port: int) -> None:
    away = Paho("away", clean=False, manual_ack=True)
    await away.connect(port)
    await away.subscribe(WILDCARDS[6])
    async with paho(port, "b") as b:
        for number in range(6):
            await b.publish(TOPICS[1], b"%d" % number)
    before = await away.messages(6)
    await away.break_off()
    again = Paho("away", clean=False, manual_ack=True)
    await again.connect(port)
    after = await again.messages(6)
    assert [(m.mid, m.payload) for m in after] == [(m.mid, m.payload) for m in before]
    assert all(message.dup for message in after)
    await again.break_off()


@pytest.mark.parametrize("clean", [True, False])
async def test_zero_length_clientid(port: int, clients: Clients, clean: bool) -> None:
    if clean:
        async with paho(port, "") as a:
            assert not a.session_present
        return
    refused = await clients.open()  # paho itself refuses to send this one
    assert await refused.greet(Hello("", clean=False)) == BAD_CLIENT_ID


async def test_subscribe_failure(port: int, on_mosquitto: bool) -> None:
    if on_mosquitto:
        pytest.skip("Mosquitto grants and delivers nothing")
    async with paho(port, "a") as a:
        assert await a.subscribe("forbidden/topic") == 0x80
        assert await a.subscribe(TOPICS[0]) == 2


async def test_dollar_topics(port: int) -> None:
    async with paho(port, "a") as a:
        for topic_filter in ("#", "+/#", "+/B"):
            await a.subscribe(topic_filter)
        await a.publish("$TopicA/B", b"hidden")
        await a.publish("last", b"last")
        assert shown(await a.until(b"last")) == []


async def test_unsubscribe(port: int) -> None:
    async with paho(port, "a") as a, paho(port, "b") as b:
        for topic in TOPICS[:3]:
            await a.subscribe(topic)
        await a.unsubscribe(TOPICS[0])
        for topic in TOPICS[:3]:
            await b.publish(topic)
        found = await a.messages(2)
        assert [message.topic for message in found] == list(TOPICS[1:3])


async def test_a_hundred_thousand_bytes_at_each_qos(port: int) -> None:
    async with paho(port, "a") as a:
        await a.subscribe("big")
        for qos in range(3):
            await a.publish("big", b"z" * 100_000, qos)
        assert [len(message.payload) for message in await a.messages(3)] == [100_000] * 3
