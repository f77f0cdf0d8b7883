"""The last will and the keep-alive time that brings it about."""

import asyncio
import time

import pytest

from tests.conformance.client import Client, Clients
from tests.conformance.packets import DISCONNECT_PACKET, Hello, Will, frame, publish

WILL = Will("wills/a", b"gone")


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("retain", [False, True])
async def test_a_lost_connection_publishes_the_will(
    clients: Clients, subscriber: Client, qos: int, retain: bool
) -> None:
    """MQTT-3.1.2-8, MQTT-3.1.2-9, MQTT-3.1.2-16, MQTT-3.1.2-17."""
    await subscriber.subscribe("wills/#")
    dying = await clients.connect(Hello(will=Will("wills/a", b"gone", qos, retain)))
    await dying.abort()
    (message,) = await subscriber.messages(1)
    assert (message.short, message.retain) == (("wills/a", b"gone", qos), False)
    late = await clients.connect(Hello("late"))
    await late.publish("last/one", b"last", retain=True)
    await late.subscribe("wills/#")
    await late.subscribe("last/one")
    found = await late.messages(2 if retain else 1)
    assert [m.payload for m in found] == ([b"gone", b"last"] if retain else [b"last"])
    assert all(m.retain for m in found)


async def test_an_empty_will_is_a_message_too(clients: Clients, subscriber: Client) -> None:
    await subscriber.subscribe("wills/a")
    await (await clients.connect(Hello(will=Will("wills/a", b"")))).abort()
    assert [m.payload for m in await subscriber.messages(1)] == [b""]


async def test_a_retained_empty_will_clears(clients: Clients, subscriber: Client) -> None:
    await subscriber.publish("wills/a", b"kept", retain=True)
    await subscriber.publish("wills/z", b"after", retain=True)
    await subscriber.subscribe("wills/a")
    await subscriber.messages(1)
    await (await clients.connect(Hello(will=Will("wills/a", b"", 1, retain=True)))).abort()
    assert [m.payload for m in await subscriber.messages(1)] == [b""]
    await subscriber.subscribe("wills/a")
    await subscriber.subscribe("wills/z")
    assert [m.topic for m in await subscriber.messages(1)] == ["wills/z"]


async def test_disconnect_discards_the_will(
    clients: Clients, publisher: Client, subscriber: Client
) -> None:
    """MQTT-3.14.4-3, MQTT-3.1.2-10."""
    await subscriber.subscribe("wills/a")
    leaving = await clients.connect(Hello(will=WILL))
    await leaving.disconnect()
    assert await subscriber.all_until_end(publisher) == []


async def test_without_a_will_nothing_is_published(
    clients: Clients, publisher: Client, subscriber: Client
) -> None:
    """MQTT-3.1.2-12."""
    await subscriber.subscribe("#")
    await (await clients.connect(Hello("silent"))).abort()
    found = await subscriber.all_until_end(publisher)
    assert found == []


async def test_the_will_of_a_session_is_published_once(
    clients: Clients, publisher: Client, subscriber: Client
) -> None:
    """MQTT-3.1.2-10: it is no part of the session that goes on."""
    await subscriber.subscribe("wills/a")
    dying = await clients.connect(Hello("dying", clean=False, will=WILL))
    await dying.abort()
    assert len(await subscriber.messages(1)) == 1
    again = await clients.connect(Hello("dying", clean=False))
    assert again.session_present
    await again.abort()
    assert await subscriber.all_until_end(publisher) == []


async def test_the_will_of_a_connection_that_is_taken_over_is_published(
    clients: Clients, subscriber: Client
) -> None:
    """MQTT-3.1.2-8: it did not say DISCONNECT."""
    await subscriber.subscribe("wills/a")
    await clients.connect(Hello("same", will=WILL))
    await clients.connect(Hello("same"))
    assert [m.payload for m in await subscriber.messages(1)] == [b"gone"]


@pytest.mark.parametrize(
    "broken", [publish("a", qos=3), frame(14, 1, b""), Hello().packet], ids=["QoS", "bye", "again"]
)
async def test_a_violation_of_the_protocol_publishes_the_will(
    clients: Clients, subscriber: Client, broken: bytes, on_mosquitto: bool
) -> None:
    """MQTT-3.1.2-8, MQTT-4.8.0-1."""
    if on_mosquitto and broken[0] in (0xE1, 0x10):
        pytest.skip("Mosquitto 2.0.11 takes it for a DISCONNECT")
    await subscriber.subscribe("wills/a")
    breaking = await clients.connect(Hello("breaking", will=WILL))
    breaking.send(broken)
    assert [m.payload for m in await subscriber.messages(1)] == [b"gone"]


async def test_a_packet_cut_short_before_disconnect_publishes_the_will(
    clients: Clients, subscriber: Client
) -> None:
    await subscriber.subscribe("wills/a")
    breaking = await clients.connect(Hello("breaking", will=WILL))
    breaking.send(b"\x30\x20half of it" + DISCONNECT_PACKET)
    await breaking.leave()
    assert [m.payload for m in await subscriber.messages(1)] == [b"gone"]


async def test_a_will_that_is_not_allowed_is_never_published(
    clients: Clients, publisher: Client, subscriber: Client
) -> None:
    """The CONNECT may be refused, or the will dropped."""
    await subscriber.subscribe("#")
    dying = await clients.open()
    dying.send(Hello(will=Will("forbidden/a", b"x", 1, retain=True)).packet)
    await dying.receive()
    await dying.abort()
    found = await subscriber.all_until_end(publisher)
    assert [m.topic for m in found] in ([], ["end/of/test"])


async def test_silence_for_one_and_a_half_keep_alive_times_ends_the_connection(
    clients: Clients, subscriber: Client
) -> None:
    """MQTT-3.1.2-24: not before it, and the will tells the others."""
    await subscriber.subscribe("wills/a")
    begun = time.monotonic()
    silent = await clients.connect(Hello("silent", keepalive=1, will=WILL))
    closing = asyncio.create_task(silent.closed())
    assert [m.payload for m in await subscriber.messages(1)] == [b"gone"]
    assert await closing == []
    assert time.monotonic() - begun >= 1.4


async def test_pings_and_other_packets_keep_a_connection_alive(
    clients: Clients, subscriber: Client
) -> None:
    """Beside one that is silent for as long, and dies of it."""
    await subscriber.subscribe("wills/a")
    await clients.connect(Hello("silent", keepalive=2, will=WILL))
    pinging = await clients.connect(Hello("pinging", keepalive=1))
    publishing = await clients.connect(Hello("publishing", keepalive=1))
    never = await clients.connect(Hello("never", keepalive=0))
    waiting = asyncio.create_task(subscriber.messages(1))
    while not (await asyncio.wait({waiting}, timeout=0.3))[0]:
        await pinging.ping()
        publishing.send(publish("a"))
    for client in (pinging, publishing, never):
        await client.ping()
