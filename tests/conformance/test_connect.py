"""CONNECT and CONNACK: MQTT 3.1.1, sections 3.1 and 3.2."""

import pytest

from tests.conformance.client import Client, Clients, ClosedError
from tests.conformance.packets import (
    BAD_CLIENT_ID,
    BAD_PROTOCOL,
    CONNACK,
    CONNECT,
    DISCONNECT_PACKET,
    PINGREQ_PACKET,
    Hello,
    Packet,
    Will,
    acknowledgement,
    frame,
    number,
    publish,
    subscribe,
    text,
    unsubscribe,
)

HEAD = text("MQTT") + bytes([4])
NOT_FIRST = {
    "PUBLISH": publish("a"),
    "SUBSCRIBE": subscribe(("a", 0)),
    "UNSUBSCRIBE": unsubscribe("a"),
    "PINGREQ": PINGREQ_PACKET,
    "DISCONNECT": DISCONNECT_PACKET,
    "PUBACK": acknowledgement(4, 1),
    "PUBREL": acknowledgement(6, 1),
    "CONNACK": frame(CONNACK, 0, bytes(2)),
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "TLS": bytes.fromhex("160301020001000100"),
}
MALFORMED = {
    "MQTT-3.1.2-3 the reserved flag": Hello(flags=0x03).packet,
    "MQTT-3.1.2-13 a will QoS without a will": Hello(flags=0x02 | 0x08).packet,
    "MQTT-3.1.2-14 a will QoS of 3": Hello(will=Will("a", b"x", 3)).packet,
    "MQTT-3.1.2-15 a retained will without a will": Hello(flags=0x02 | 0x20).packet,
    "MQTT-3.1.2-9 a will flag without a will": Hello(flags=0x06).packet,
    "MQTT-3.1.2-19 a user flag without a user name": Hello(flags=0x82).packet,
    "MQTT-3.1.2-21 a password flag without a password": Hello(username="u", flags=0xC2).packet,
    "MQTT-3.1.2-22 a password without a user name": Hello(password=b"p").packet,
    "MQTT-3.1.3-3 no client id": frame(CONNECT, 0, HEAD + b"\x02" + number(60)),
    "MQTT-3.1.3-4 a client id that is not UTF-8": Hello(b"\xff\xfe").packet,
    "MQTT-1.5.3-2 a client id with U+0000": Hello("a\0b").packet,
    "MQTT-3.1.3-10 a will topic with U+0000": Hello(will=Will("a\0", b"x")).packet,
    "MQTT-3.3.2-2 a will topic with a wildcard": Hello(will=Will("a/#", b"x")).packet,
    "MQTT-2.2.2-2 flags in the fixed header": b"\x11" + Hello().packet[1:],
    "MQTT-3.1.4-1 no keep-alive time": frame(CONNECT, 0, HEAD + b"\x02"),
    "MQTT-3.1.4-1 nothing at all": frame(CONNECT, 0, b""),
    "MQTT-3.1.4-1 bytes after the last field": frame(CONNECT, 0, Hello().packet[2:] + b"more"),
    "MQTT-3.1.4-1 a client id longer than the packet": frame(
        CONNECT, 0, HEAD + b"\x02" + number(60) + b"\x00\x09four"
    ),
    "a remaining length of five bytes": b"\x10\x80\x80\x80\x80\x01",
}


@pytest.mark.parametrize("first", NOT_FIRST.values(), ids=NOT_FIRST)
async def test_whatever_comes_before_connect_ends_the_connection(
    clients: Clients, first: bytes
) -> None:
    """MQTT-3.1.0-1."""
    client = await clients.open()
    client.send(first)
    client.send(Hello().packet)
    assert await client.closed() == []


async def test_a_second_connect_ends_the_connection(clients: Clients) -> None:
    """MQTT-3.1.0-2."""
    client = await clients.connect()
    client.send(Hello().packet)
    assert await client.closed() == []


@pytest.mark.parametrize("packet", MALFORMED.values(), ids=MALFORMED)
async def test_a_malformed_connect_is_not_accepted(
    clients: Clients, packet: bytes, on_mosquitto: bool, request: pytest.FixtureRequest
) -> None:
    """MQTT-3.1.4-1: closed without CONNACK; a refusing one before it does no harm."""
    if on_mosquitto and "more" in str(request.node.name):
        pytest.skip("Mosquitto 2.0.11 reads past it")
    client = await clients.open()
    client.send(packet)
    answers = await client.closed()
    assert len(answers) <= 1
    assert all(answer.kind == CONNACK and answer.body[1] > 0 for answer in answers)


@pytest.mark.parametrize("level", [0, 3, 5, 6, 127, 255])
async def test_another_protocol_level_is_answered_with_code_1_and_closed(
    clients: Clients, level: int, on_mosquitto: bool
) -> None:
    """MQTT-3.1.2-2, MQTT-3.2.2-4, MQTT-3.2.2-5."""
    if on_mosquitto and level in (5, 255):
        pytest.skip("Mosquitto speaks it")
    client = await clients.open()
    client.send(Hello(level=level).packet)
    assert await client.closed() == [Packet(CONNACK, 0, bytes([0, BAD_PROTOCOL]))]


@pytest.mark.parametrize("name", [b"MQIsdp", b"mqtt", b"MQTT ", b"", b"HTTP", b"\xff\xff\xff\xff"])
async def test_another_protocol_name_is_not_served(clients: Clients, name: bytes) -> None:
    """MQTT-3.1.2-1: closed, at most after a CONNACK that refuses."""
    client = await clients.open()
    client.send(Hello(protocol=name).packet)
    assert all(answer.body[1] == BAD_PROTOCOL for answer in await client.closed())


async def test_what_follows_a_refused_connect_is_not_handled(
    clients: Clients, publisher: Client, subscriber: Client
) -> None:
    """MQTT-3.1.4-5."""
    await subscriber.subscribe("a")
    client = await clients.open()
    client.send(Hello(level=9).packet + publish("a"))
    await client.closed()
    assert await subscriber.all_until_end(publisher) == []


@pytest.mark.parametrize("client_id", ["a", "0123456789abcdefghijklm", "ZYXWVUTSRQPONMLKJIHGFED"])
async def test_every_short_alphanumeric_client_id_is_accepted(
    clients: Clients, client_id: str
) -> None:
    """MQTT-3.1.3-5, MQTT-3.1.4-4, MQTT-3.2.0-1."""
    client = await clients.connect(Hello(client_id))
    await client.ping()
    await client.disconnect()


async def test_two_clients_without_a_client_id_are_kept_apart(clients: Clients) -> None:
    """MQTT-3.1.3-6: each is given an id of its own."""
    first, second = [await clients.connect(Hello("")) for _ in range(2)]
    assert not first.session_present
    await first.subscribe("a")
    await second.publish("a", b"to the first")
    assert (await first.message()).payload == b"to the first"
    await second.ping()
    for client in (first, second):
        await client.disconnect()


async def test_no_client_id_with_a_session_to_keep_is_refused(clients: Clients) -> None:
    """MQTT-3.1.3-7, MQTT-3.1.3-8."""
    client = await clients.open()
    client.send(Hello("", clean=False).packet)
    assert await client.closed() == [Packet(CONNACK, 0, bytes([0, BAD_CLIENT_ID]))]


async def test_user_name_and_password_are_read_in_their_place(clients: Clients) -> None:
    """MQTT-3.1.3-1, MQTT-3.1.2-19, MQTT-3.1.2-21: also a password that is no text."""
    hello = Hello(will=Will("w", b"\xff"), username="ünï", password=b"\xff\x00\xfe")
    client = await clients.connect(hello)
    await client.ping()
    await client.disconnect()


async def test_a_user_name_without_a_password_is_well_formed(clients: Clients) -> None:
    client = await clients.connect(Hello(username="u"))
    await client.disconnect()


async def test_a_second_connection_of_a_client_ends_the_first(clients: Clients) -> None:
    """MQTT-3.1.4-2."""
    first = await clients.connect(Hello("same"))
    second = await clients.connect(Hello("same"))
    assert await first.closed() == []
    await second.ping()
    await second.disconnect()


async def test_ten_connections_of_one_client_leave_the_last(clients: Clients) -> None:
    clients = [await clients.connect(Hello("same")) for _ in range(10)]
    await clients[-1].ping()
    for client in clients[:-1]:
        assert await client.closed() == []
    await clients[-1].disconnect()


async def test_a_connect_that_arrives_byte_by_byte_is_accepted(clients: Clients) -> None:
    client = await clients.open()
    for byte in Hello().packet:
        client.send(bytes([byte]))
        await client._writer.drain()
    assert (await client.receive()).kind == CONNACK
    await client.disconnect()


async def test_packets_that_follow_connect_at_once_are_handled(clients: Clients) -> None:
    """Section 3.1.4: a client need not wait for the CONNACK."""
    client = await clients.open()
    client.send(Hello().packet + subscribe(("a", 0)) + publish("a", b"mine") + PINGREQ_PACKET)
    kinds = [(await client.receive()).kind for _ in range(4)]
    assert kinds[0] == CONNACK
    assert sorted(kinds[1:]) == [3, 9, 13]
    await client.disconnect()


async def test_ping_is_answered(clients: Clients) -> None:
    """MQTT-3.12.4-1."""
    client = await clients.connect()
    for _ in range(3):
        await client.ping()
    await client.disconnect()


async def test_the_server_closes_after_disconnect(clients: Clients) -> None:
    """Section 3.14.4; nothing that follows DISCONNECT is handled."""
    client = await clients.connect()
    client.send(DISCONNECT_PACKET + PINGREQ_PACKET)
    with pytest.raises(ClosedError):
        await client.receive()
    await client.leave()
