"""What a server must answer by closing, and everyone else goes on as before."""

import pytest

from tests.conformance.client import Client, Clients
from tests.conformance.packets import (
    CONNACK,
    DISCONNECT,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    Hello,
    frame,
    number,
    publish,
    subscribe,
    text,
    unsubscribe,
)

BAD_TEXTS = {
    "U+0000": b"a\0b",
    "no UTF-8": b"a\xff",
    "a cut character": b"a\xe2\x82",
    "an overlong slash": b"a\xc0\xaf",
    "a surrogate": b"a\xed\xa0\x80",
    "a surrogate pair": b"\xed\xa0\xbd\xed\xb8\x80",
    "past U+10FFFF": b"\xf4\x90\x80\x80",
}
BAD_FILTERS = {
    "MQTT-4.7.3-1 nothing": "",
    "MQTT-4.7.1-2 # before the end": "a/#/b",
    "MQTT-4.7.1-2 # with something before it": "a#",
    "MQTT-4.7.1-2 # with something before it in the last level": "a/b#",
    "MQTT-4.7.1-2 # with something after it": "#a",
    "MQTT-4.7.1-2 two #": "##",
    "MQTT-4.7.1-3 + with something before it": "a+",
    "MQTT-4.7.1-3 + with something after it": "+a/b",
    "MQTT-4.7.1-3 two +": "a/++",
}
PACKETS = {
    "MQTT-3.3.1-4 QoS 3": publish("a", qos=3),
    "MQTT-3.3.1-2 DUP at QoS 0": publish("a", dup=True),
    "MQTT-2.3.1-1 a PUBLISH at QoS 1 with packet id 0": publish("a", qos=1, packet_id=0),
    "MQTT-2.3.1-1 a PUBLISH at QoS 2 with packet id 0": publish("a", qos=2, packet_id=0),
    "MQTT-4.7.3-1 a PUBLISH to nothing": publish(""),
    "MQTT-3.3.2-2 a PUBLISH to #": publish("#"),
    "MQTT-3.3.2-2 a PUBLISH to a/#": publish("a/#"),
    "MQTT-3.3.2-2 a PUBLISH to +": publish("+"),
    "MQTT-3.3.2-2 a PUBLISH to a/+/b": publish("a/+/b"),
    "MQTT-3.3.2-2 a PUBLISH to a+b": publish("a+b"),
    "a PUBLISH without a topic": frame(PUBLISH, 0, b""),
    "a PUBLISH with half a length": frame(PUBLISH, 0, b"\x00"),
    "a PUBLISH with a topic longer than the packet": frame(PUBLISH, 0, b"\x00\x09a"),
    "a PUBLISH at QoS 1 without a packet id": frame(PUBLISH, 2, text("a")),
    "a PUBLISH at QoS 1 with half a packet id": frame(PUBLISH, 2, text("a") + b"\x01"),
    "MQTT-3.6.1-1 a PUBREL with flags 0": frame(PUBREL, 0, number(1)),
    "MQTT-3.6.1-1 a PUBREL with flags 3": frame(PUBREL, 3, number(1)),
    "MQTT-2.2.2-2 a PUBACK with flags 1": frame(PUBACK, 1, number(1)),
    "MQTT-2.2.2-2 a PUBREC with flags 2": frame(PUBREC, 2, number(1)),
    "MQTT-2.2.2-2 a PUBCOMP with flags 8": frame(7, 8, number(1)),
    "a PUBACK without a packet id": frame(PUBACK, 0, b""),
    "a PUBACK with half a packet id": frame(PUBACK, 0, b"\x01"),
    "MQTT-3.8.1-1 a SUBSCRIBE with flags 0": subscribe(("a", 0), flags=0),
    "MQTT-3.8.1-1 a SUBSCRIBE with flags 3": subscribe(("a", 0), flags=3),
    "MQTT-3.8.3-3 a SUBSCRIBE to no filter": subscribe(),
    "MQTT-3.8.3-4 a SUBSCRIBE at QoS 3": subscribe(("a", 3)),
    "MQTT-3.8.3-4 a SUBSCRIBE with reserved bits": subscribe(("a", 0x41)),
    "MQTT-2.3.1-1 a SUBSCRIBE with packet id 0": subscribe(("a", 0), packet_id=0),
    "a SUBSCRIBE without a QoS": frame(SUBSCRIBE, 2, number(1) + text("a")),
    "a SUBSCRIBE whose second filter is cut": frame(
        SUBSCRIBE, 2, number(1) + text("a") + b"\x00" + b"\x00\x05b"
    ),
    "a SUBSCRIBE with nothing in it": frame(SUBSCRIBE, 2, b""),
    "MQTT-3.10.1-1 an UNSUBSCRIBE with flags 0": unsubscribe("a", flags=0),
    "MQTT-3.10.3-2 an UNSUBSCRIBE from no filter": unsubscribe(),
    "MQTT-2.3.1-1 an UNSUBSCRIBE with packet id 0": unsubscribe("a", packet_id=0),
    "an UNSUBSCRIBE whose filter is cut": frame(UNSUBSCRIBE, 2, number(1) + b"\x00\x05b"),
    "MQTT-2.2.2-2 a PINGREQ with flags 1": frame(PINGREQ, 1, b""),
    "a PINGREQ with a body": frame(PINGREQ, 0, b"x"),
    "MQTT-3.14.1-1 a DISCONNECT with flags 1": frame(DISCONNECT, 1, b""),
    "a packet of type 0": frame(0, 0, b""),
    "a packet of type 15": frame(15, 0, b""),
    "a CONNACK from a client": frame(CONNACK, 0, bytes(2)),
    "a SUBACK from a client": frame(SUBACK, 0, number(1) + b"\x00"),
    "an UNSUBACK from a client": frame(UNSUBACK, 0, number(1)),
    "a PINGRESP from a client": frame(PINGRESP, 0, b""),
    "section 2.2.3 a remaining length of five bytes": b"\x30\xff\xff\xff\xff\x01",
    **{f"MQTT-1.5.3 a PUBLISH to {name}": publish(bad) for name, bad in BAD_TEXTS.items()},
    **{
        f"MQTT-3.8.3-1 a SUBSCRIBE to {name}": subscribe((bad, 0))
        for name, bad in BAD_TEXTS.items()
    },
    **{f"MQTT-3.10.3-1 an UNSUBSCRIBE from {n}": unsubscribe(b) for n, b in BAD_TEXTS.items()},
}
# What Mosquitto 2.0.11 lets pass.
LENIENT = (
    "DUP at QoS 0", "with a body", "a PUBACK with flags 1", "a PUBREC with flags", "a PUBCOMP with",
    "to a surrogate", "from a surrogate", "from no filter", "a PINGREQ with flags",
    "DISCONNECT with flags", "PINGRESP from", "UNSUBACK from", "SUBACK from",
)  # fmt: skip


@pytest.mark.parametrize("name", PACKETS)
async def test_a_malformed_packet_ends_its_connection_and_no_other(
    clients: Clients, name: str, publisher: Client, on_mosquitto: bool
) -> None:
    """MQTT-4.8.0-1."""
    if on_mosquitto and any(part in name for part in LENIENT):
        pytest.skip("Mosquitto 2.0.11 lets it pass")
    client = await clients.connect(Hello("breaker"))
    client.send(PACKETS[name])
    assert await client.closed() == []
    await publisher.ping()


@pytest.mark.parametrize("topic_filter", BAD_FILTERS.values(), ids=BAD_FILTERS)
async def test_a_filter_that_is_none_is_not_granted(clients: Clients, topic_filter: str) -> None:
    """Closed, or answered with a failure code: both keep to MQTT-4.7."""
    client = await clients.connect()
    client.send(subscribe((topic_filter, 0)))
    answers = await client_answers(client)
    assert answers in ([], [0x80])


async def client_answers(client: Client) -> list[int]:
    """The codes of the SUBACK; none where the server closed."""
    client.send(frame(DISCONNECT, 0, b""))
    return [code for answer in await client.closed() for code in answer.body[2:]]


@pytest.mark.parametrize("cut", [1, 2, 3, 5])
async def test_a_connection_that_ends_inside_a_packet_disturbs_nobody(
    clients: Clients, publisher: Client, subscriber: Client, cut: int
) -> None:
    await subscriber.subscribe("a")
    client = await clients.connect(Hello("breaker"))
    client.send(publish("a", b"payload")[:-cut])
    await client.leave()
    assert await subscriber.all_until_end(publisher) == []
