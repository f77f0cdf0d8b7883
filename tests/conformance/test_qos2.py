"""QoS 2: exactly once, whatever is repeated (section 4.3.3)."""

import pytest

from tests.conformance.client import Client, Clients
from tests.conformance.packets import (
    PINGREQ_PACKET,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    Hello,
    acknowledgement,
    publish,
)


async def test_a_repeated_publish_before_pubrel_is_delivered_once(
    publisher: Client, subscriber: Client, on_mosquitto: bool
) -> None:
    """MQTT-4.3.3-2: each is answered by PUBREC."""
    if on_mosquitto:
        pytest.skip("Mosquitto 2.0.11 closes")
    await subscriber.subscribe("a", qos=0)
    for dup in (False, True, True):
        publisher.send(publish("a", b"once", 2, dup=dup, packet_id=5))
        assert (await publisher.expect(PUBREC)).packet_id == 5
    publisher.send(acknowledgement(PUBREL, 5))
    assert (await publisher.expect(PUBCOMP)).packet_id == 5
    found = await subscriber.all_until_end(publisher)
    assert [message.payload for message in found] == [b"once"]


async def test_after_pubcomp_the_packet_id_stands_for_a_new_message(
    publisher: Client, subscriber: Client
) -> None:
    await subscriber.subscribe("a", qos=2)
    for payload in (b"first", b"second"):
        publisher.send(publish("a", payload, 2, packet_id=5))
        await publisher.expect(PUBREC)
        publisher.send(acknowledgement(PUBREL, 5))
        await publisher.expect(PUBCOMP)
    assert [m.payload for m in await subscriber.messages(2)] == [b"first", b"second"]


@pytest.mark.parametrize("known", [True, False])
async def test_every_pubrel_is_answered_by_pubcomp(publisher: Client, known: bool) -> None:
    """Section 4.3.3: also a repeated one, and one for an id the server has forgotten."""
    if known:
        publisher.send(publish("a", b"x", 2, packet_id=9))
        await publisher.expect(PUBREC)
    for _ in range(3):
        publisher.send(acknowledgement(PUBREL, 9))
        assert (await publisher.expect(PUBCOMP)).packet_id == 9


async def test_acknowledgements_nobody_waits_for_do_no_harm(publisher: Client) -> None:
    for kind in (PUBACK, PUBREC, PUBCOMP):
        publisher.send(acknowledgement(kind, 1234))
    publisher.send(PINGREQ_PACKET)
    answers = []
    while (answer := await publisher.receive()).kind != PINGRESP:
        answers.append(answer)
    assert all((answer.kind, answer.packet_id) == (PUBREL, 1234) for answer in answers)
    await publisher.publish("a", b"x", 2)


async def test_many_open_exchanges_are_answered_in_order(
    publisher: Client, subscriber: Client
) -> None:
    """MQTT-4.6.0-3, MQTT-4.6.0-6."""
    await subscriber.subscribe("a", qos=2)
    numbers = list(range(20, 0, -1))
    publisher.send(b"".join(publish("a", str(n).encode(), 2, packet_id=n) for n in numbers))
    assert [(await publisher.expect(PUBREC)).packet_id for _ in numbers] == numbers
    publisher.send(b"".join(acknowledgement(PUBREL, n) for n in numbers))
    assert [(await publisher.expect(PUBCOMP)).packet_id for _ in numbers] == numbers
    found = await subscriber.messages(len(numbers))
    assert [int(message.payload) for message in found] == numbers


async def test_the_servers_pubrel_follows_pubrec_in_order(
    publisher: Client, subscriber: Client
) -> None:
    """MQTT-4.6.0-4, MQTT-2.3.1-6, MQTT-3.6.1-1."""
    await subscriber.subscribe("a", qos=2)
    for number in range(5):
        await publisher.publish("a", str(number).encode(), 2)
    ids = [(await subscriber.message()).packet_id for _ in range(5)]
    assert len(set(ids)) == 5
    subscriber.send(b"".join(acknowledgement(PUBREC, number) for number in ids))
    releases = [await subscriber.expect(PUBREL) for _ in ids]
    assert [(packet.packet_id, packet.flags) for packet in releases] == [(n, 2) for n in ids]
    subscriber.send(b"".join(acknowledgement(PUBCOMP, number) for number in ids))
    await subscriber.ping()


@pytest.mark.parametrize("dup", [True, False])
async def test_a_publish_repeated_in_a_resumed_session_is_delivered_once(
    clients: Clients, publisher: Client, subscriber: Client, dup: bool
) -> None:
    """MQTT-4.1.0-1, MQTT-4.4.0-1: the id of an open exchange outlives the connection."""
    await subscriber.subscribe("a", qos=0)
    hello = Hello("sender", clean=False)
    sender = await clients.connect(hello)
    sender.send(publish("a", b"once", 2, packet_id=3))
    await sender.expect(PUBREC)
    await sender.abort()
    sender = await clients.connect(hello)
    assert sender.session_present
    sender.send(publish("a", b"once", 2, dup=dup, packet_id=3))
    await sender.expect(PUBREC)
    sender.send(acknowledgement(PUBREL, 3))
    await sender.expect(PUBCOMP)
    found = await subscriber.all_until_end(publisher)
    assert [message.payload for message in found] == [b"once"]


async def test_a_clean_session_forgets_open_exchanges(
    clients: Clients, publisher: Client, subscriber: Client
) -> None:
    """MQTT-3.1.2-6: the same id begins anew."""
    await subscriber.subscribe("a", qos=0)
    for _ in range(2):
        sender = await clients.connect(Hello("sender"))
        sender.send(publish("a", b"x", 2, packet_id=3))
        await sender.expect(PUBREC)
        sender.send(acknowledgement(PUBREL, 3))
        await sender.expect(PUBCOMP)
        await sender.abort()
    assert len(await subscriber.all_until_end(publisher)) == 2
