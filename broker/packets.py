"""The packets of MQTT 3.1.1 that a server reads and writes, to and from bytes. Pure.

Source: MQTT Version 3.1.1 (OASIS Standard), section 3.
"""

from typing import Final, NamedTuple

from client_sdk.wire.errors import MalformedError

CONNECT: Final = 1
CONNACK: Final = 2
PUBLISH: Final = 3
PUBACK: Final = 4
PUBREC: Final = 5
PUBREL: Final = 6
PUBCOMP: Final = 7
SUBSCRIBE: Final = 8
SUBACK: Final = 9
UNSUBSCRIBE: Final = 10
UNSUBACK: Final = 11
PINGREQ: Final = 12
PINGRESP: Final = 13
DISCONNECT: Final = 14

MAX_QOS: Final = 2
REFUSED_SUBSCRIPTION: Final = 0x80
PING_ANSWER: Final = bytes([PINGRESP << 4, 0])

_RETAIN: Final = 0x01
_DUP: Final = 0x08
_ACK_FIRST: Final = {
    kind: bytes([kind << 4 | (2 if kind == PUBREL else 0), 2])
    for kind in (PUBACK, PUBREC, PUBREL, PUBCOMP, UNSUBACK)
}


class Publish(NamedTuple):
    """One PUBLISH packet; ``packet_id`` is 0 at QoS 0."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    packet_id: int


class Subscribe(NamedTuple):
    """One SUBSCRIBE packet: filters, each with the QoS that is wanted."""

    packet_id: int
    wanted: list[tuple[str, int]]


class Unsubscribe(NamedTuple):
    """One UNSUBSCRIBE packet."""

    packet_id: int
    filters: list[str]


def parse_publish(flags: int, body: bytes) -> Publish:
    """Return the packet in ``body``; raises MalformedError where there is none."""
    qos = (flags >> 1) & 3
    if qos > MAX_QOS or (flags & _DUP and not qos):
        raise MalformedError("a PUBLISH with flags that are not defined")
    topic, position = read_text(body, 0)
    if not topic or "+" in topic or "#" in topic:
        raise MalformedError("a PUBLISH without a topic, or with a wildcard in it")
    packet_id = 0
    if qos:
        packet_id, position = _packet_id(body, position)
    return Publish(topic, body[position:], qos, bool(flags & _RETAIN), packet_id)


def parse_ack(body: bytes) -> int:
    """Return the packet id of a PUBACK, PUBREC, PUBREL or PUBCOMP; raises MalformedError."""
    packet_id, position = _packet_id(body, 0)
    _check_end(body, position)
    return packet_id


def parse_subscribe(body: bytes) -> Subscribe:
    """Return the packet in ``body``; raises MalformedError where there is none."""
    packet_id, position = _packet_id(body, 0)
    wanted: list[tuple[str, int]] = []
    while position < len(body):
        topic_filter, position = _filter(body, position)
        if position == len(body) or body[position] > MAX_QOS:
            raise MalformedError("a SUBSCRIBE without a QoS that is defined")
        wanted.append((topic_filter, body[position]))
        position += 1
    if not wanted:
        raise MalformedError("a SUBSCRIBE without filters")
    return Subscribe(packet_id, wanted)


def parse_unsubscribe(body: bytes) -> Unsubscribe:
    """Return the packet in ``body``; raises MalformedError where there is none."""
    packet_id, position = _packet_id(body, 0)
    filters: list[str] = []
    while position < len(body):
        topic_filter, position = _filter(body, position)
        filters.append(topic_filter)
    if not filters:
        raise MalformedError("an UNSUBSCRIBE without filters")
    return Unsubscribe(packet_id, filters)


def encode_publish(message: Publish, *, dup: bool = False) -> bytes:
    """Return the bytes of one PUBLISH packet."""
    topic = message.topic.encode()
    number = message.packet_id.to_bytes(2) if message.qos else b""
    first = PUBLISH << 4 | message.qos << 1 | message.retain | (_DUP if dup else 0)
    length = 2 + len(topic) + len(number) + len(message.payload)
    return b"".join((_head(first, length), len(topic).to_bytes(2), topic, number, message.payload))


def encode_ack(kind: int, packet_id: int) -> bytes:
    """Return a PUBACK, PUBREC, PUBREL, PUBCOMP or UNSUBACK."""
    return _ACK_FIRST[kind] + packet_id.to_bytes(2)


def encode_suback(packet_id: int, granted: list[int]) -> bytes:
    """Return a SUBACK: one code for each filter, in their order."""
    return _head(SUBACK << 4, 2 + len(granted)) + packet_id.to_bytes(2) + bytes(granted)


def encode_connack(code: int, *, session_present: bool = False) -> bytes:
    """Return a CONNACK."""
    return bytes([CONNACK << 4, 2, session_present, code])


def _head(first: int, length: int) -> bytes:
    head = bytearray((first,))
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head)


def _packet_id(body: bytes, position: int) -> tuple[int, int]:
    packet_id = int.from_bytes(body[position : position + 2])
    if position + 2 > len(body) or not packet_id:
        raise MalformedError("a packet without its number")
    return packet_id, position + 2


def read_field(body: bytes, position: int) -> tuple[bytes, int]:
    """Return a field that its length precedes, and where the next one begins."""
    start = position + 2
    end = start + int.from_bytes(body[position:start])
    if start > len(body) or end > len(body):
        raise MalformedError("a packet that ends inside a field")
    return body[start:end], end


def read_text(body: bytes, position: int) -> tuple[str, int]:
    """Return a field of UTF-8, and where the next one begins.

    Source: MQTT 3.1.1, 1.5.3: no surrogates, no U+0000.
    """
    data, end = read_field(body, position)
    if b"\x00" in data:
        raise MalformedError("a text with U+0000")
    try:
        return data.decode(), end
    except UnicodeDecodeError as error:
        raise MalformedError("a text that is not UTF-8") from error


def _filter(body: bytes, position: int) -> tuple[str, int]:
    topic_filter, end = read_text(body, position)
    if not topic_filter:
        raise MalformedError("an empty filter")
    if "+" in topic_filter or "#" in topic_filter:
        *inner, last = topic_filter.split("/")
        if "#" in "/".join(inner) or ("#" in last and last != "#"):
            raise MalformedError("a filter with # in the middle")
        if any("+" in level and level != "+" for level in (*inner, last)):
            raise MalformedError("a filter with + beside other characters")
    return topic_filter, end


def _check_end(body: bytes, position: int) -> None:
    if position != len(body):
        raise MalformedError("a packet with bytes after its end")
