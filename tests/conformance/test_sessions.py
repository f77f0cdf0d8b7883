"""Sessions that outlive their connection: what waits, what is repeated, what is forgotten."""

import pytest

from tests.conformance.client import Client, Clients
from tests.conformance.packets import (
    BAD_PROTOCOL,
    CONNACK,
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    Hello,
    Packet,
    acknowledgement,
    publish,
)

STAYS = Hello("stays", clean=False)
CLEAN = Hello("stays", clean=True)


async def leave_behind(clients: Clients, *filters: str, qos: int = 2) -> None:
    """Open the session, subscribe and go."""
    client = await clients.connect(STAYS)
    await client.subscribe(*filters, qos=qos)
    await client.disconnect()


async def test_session_present_tells_whether_there_was_one(clients: Clients) -> None:
    """MQTT-3.2.2-1, MQTT-3.2.2-2, MQTT-3.2.2-3, MQTT-3.1.2-6."""
    told = []
    for hello in (STAYS, STAYS, CLEAN, STAYS, STAYS, CLEAN, CLEAN):
        client = await clients.connect(hello)
        told.append(client.session_present)
        await client.disconnect()
    assert told == [False, True, False, False, True, False, False]


async def test_a_refused_connect_tells_of_no_session(clients: Clients) -> None:
    """MQTT-3.2.2-4."""
    await leave_behind(clients, "a")
    client = await clients.open()
    client.send(Hello("stays", clean=False, level=9).packet)
    assert await client.closed() == [Packet(CONNACK, 0, bytes([0, BAD_PROTOCOL]))]


@pytest.mark.parametrize("published", [0, 1, 2])
@pytest.mark.parametrize("granted", [0, 1, 2])
async def test_messages_wait_for_a_client_that_is_away(
    clients: Clients, publisher: Client, published: int, granted: int
) -> None:
    """MQTT-3.1.2-5, MQTT-3.1.2-4, MQTT-4.5.0-1: at QoS 1 and 2; at QoS 0 they may."""
    await leave_behind(clients, "a/+", qos=granted)
    await publisher.publish("a/b", b"waited", published)
    client = await clients.connect(STAYS)
    found = await client.all_until_end(publisher)
    qos = min(published, granted)
    if qos:
        assert [message.short for message in found] == [("a/b", b"waited", qos)]
    assert all(not message.retain and not message.dup for message in found)


async def test_what_waits_arrives_in_order_and_before_what_is_new(
    clients: Clients, publisher: Client
) -> None:
    """MQTT-4.6.0-6."""
    await leave_behind(clients, "a")
    for number in range(100):
        await publisher.publish("a", str(number).encode(), 1 + number % 2)
    client = await clients.connect(STAYS)
    await publisher.publish("a", b"100", 1)
    found = await client.messages(101)
    assert [int(message.payload) for message in found] == list(range(101))


async def test_subscriptions_outlive_the_connection(clients: Clients, publisher: Client) -> None:
    """MQTT-4.1.0-1."""
    await leave_behind(clients, "a", "b/#")
    client = await clients.connect(STAYS)
    await client.unsubscribe("a")
    await client.disconnect()
    client = await clients.connect(STAYS)
    await publisher.publish("a")
    await publisher.publish("b/c")
    assert [m.topic for m in await client.all_until_end(publisher)] == ["b/c"]


async def test_a_clean_session_throws_away_what_waited(clients: Clients, publisher: Client) -> None:
    """MQTT-3.1.2-6."""
    await leave_behind(clients, "a")
    await publisher.publish("a")
    await (await clients.connect(CLEAN)).disconnect()
    client = await clients.connect(STAYS)
    await publisher.publish("a")
    assert await client.all_until_end(publisher) == []


async def test_nothing_waits_for_a_clean_session_that_is_away(
    clients: Clients, publisher: Client
) -> None:
    client = await clients.connect(CLEAN)
    await client.subscribe("a")
    await client.disconnect()
    await publisher.publish("a")
    client = await clients.connect(STAYS)
    assert not client.session_present
    assert await client.all_until_end(publisher) == []


@pytest.mark.parametrize("how", ["lost", "said goodbye", "taken over"])
async def test_an_unacknowledged_message_is_sent_again_with_dup_and_its_packet_id(
    clients: Clients, publisher: Client, how: str
) -> None:
    """MQTT-4.4.0-1, MQTT-3.3.1-1."""
    first = await clients.connect(STAYS)
    await first.subscribe("a")
    for number in range(10):
        await publisher.publish("a", str(number).encode(), 1 + number % 2)
    before = [await first.message() for _ in range(10)]
    if how == "lost":
        await first.abort()
    elif how == "said goodbye":
        await first.disconnect()
    second = await clients.connect(STAYS)
    after = [await second.acknowledge(await second.message()) for _ in range(10)]
    assert after == [message._replace(dup=True) for message in before]
    assert not any(message.dup for message in before)
    await second.disconnect()
    third = await clients.connect(STAYS)
    assert await third.all_until_end(publisher) == []


async def test_only_what_was_not_acknowledged_is_sent_again(
    clients: Clients, publisher: Client
) -> None:
    first = await clients.connect(STAYS)
    await first.subscribe("a")
    for number in range(6):
        await publisher.publish("a", str(number).encode(), 1 + number % 2)
    for number in range(6):
        message = await first.message()
        if number in (0, 3, 4):
            await first.acknowledge(message)
    await first.ping()
    await first.abort()
    second = await clients.connect(STAYS)
    found = await second.all_until_end(publisher)
    assert [message.payload for message in found] == [b"1", b"2", b"5"]


async def test_a_received_message_is_released_again_not_sent_again(
    clients: Clients, publisher: Client
) -> None:
    """MQTT-4.4.0-1, MQTT-4.3.3-1: after PUBREC the PUBREL is repeated, never the PUBLISH."""
    client = await clients.connect(STAYS)
    await client.subscribe("a")
    await publisher.publish("a", b"once", 2)
    packet_id = (await client.message()).packet_id
    client.send(acknowledgement(PUBREC, packet_id))
    assert (await client.expect(PUBREL)).packet_id == packet_id
    for _ in range(3):
        await client.abort()
        client = await clients.connect(STAYS)
        again = await client.receive()
        assert (again.kind, again.packet_id) == (PUBREL, packet_id)
    client.send(acknowledgement(PUBCOMP, packet_id))
    assert await client.all_until_end(publisher) == []
    await client.disconnect()
    client = await clients.connect(STAYS)
    assert await client.all_until_end(publisher) == []


async def test_a_packet_id_in_flight_is_given_to_no_other_message(
    clients: Clients, publisher: Client
) -> None:
    """MQTT-2.3.1-4."""
    client = await clients.connect(STAYS)
    await client.subscribe("a")
    await publisher.publish("a", b"open", 2)
    held = await client.message()
    for number in range(200):
        await publisher.publish("a", str(number).encode(), 1)
    found = await client.messages(200)
    assert held.packet_id not in {message.packet_id for message in found}
    await client.acknowledge(held)


async def test_a_retained_message_that_waits_is_live_for_the_session(
    clients: Clients, publisher: Client
) -> None:
    """MQTT-3.3.1-9: it is queued for an established subscription."""
    await leave_behind(clients, "kept/a")
    await publisher.publish("kept/a", b"x", 1, retain=True)
    client = await clients.connect(STAYS)
    assert [m.retain for m in await client.all_until_end(publisher)] == [False]


async def test_retained_messages_are_not_replayed_for_a_resumed_subscription(
    clients: Clients, publisher: Client
) -> None:
    """MQTT-3.3.1-6: only a new SUBSCRIBE asks for them."""
    await publisher.publish("kept/a", b"x", 1, retain=True)
    client = await clients.connect(STAYS)
    await client.subscribe("kept/a")
    assert len(await client.messages(1)) == 1
    await client.disconnect()
    client = await clients.connect(STAYS)
    assert await client.all_until_end(publisher) == []


async def test_a_session_survives_a_take_over(clients: Clients, publisher: Client) -> None:
    first = await clients.connect(STAYS)
    await first.subscribe("a")
    second = await clients.connect(STAYS)
    assert second.session_present
    await first.closed()
    await publisher.publish("a", b"x", 2)
    assert [m.payload for m in await second.messages(1)] == [b"x"]


async def test_a_take_over_with_a_clean_session_ends_the_old_one(
    clients: Clients, publisher: Client
) -> None:
    first = await clients.connect(STAYS)
    await first.subscribe("a")
    second = await clients.connect(CLEAN)
    assert not second.session_present
    await first.closed()
    await publisher.publish("a")
    assert await second.all_until_end(publisher) == []


async def test_what_was_not_replayed_yet_is_sent_when_the_session_goes_on(
    clients: Clients, publisher: Client
) -> None:
    """MQTT-3.1.2-5, MQTT-4.5.0-1: also what arrived live behind a replay that stalled."""
    for number in range(700):
        publisher.send(publish(f"kept/{number}", b"x", 1, retain=True))
        await publisher.expect(PUBACK)
    client = await clients.connect(STAYS)
    await client.subscribe("kept/+", qos=1)
    await client.message()
    await publisher.publish("kept/live", b"x", retain=True)
    await client.abort()
    client = await clients.connect(STAYS)
    found: set[str] = set()
    while len(found) < 701:
        (message,) = await client.messages(1)
        found.add(message.topic)
    assert found == {"kept/live", *(f"kept/{number}" for number in range(700))}
