"""MQTT 3.1.1 packets as bytes, right ones and, where a test asks for it, wrong ones."""

import struct
from dataclasses import dataclass
from typing import NamedTuple

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = range(1, 8)
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = range(8, 15)
FAILURE = 0x80
ACCEPTED, BAD_PROTOCOL, BAD_CLIENT_ID = 0, 1, 2

PINGREQ_PACKET = b"\xc0\x00"
DISCONNECT_PACKET = b"\xe0\x00"


class Packet(NamedTuple):
    """One packet that the server sent."""

    kind: int
    flags: int
    body: bytes

    @property
    def packet_id(self) -> int:
        """The number at the start of an acknowledgement."""
        return int(struct.unpack_from("!H", self.body)[0])


class Message(NamedTuple):
    """A PUBLISH, taken apart."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    dup: bool = False
    packet_id: int = 0

    @property
    def short(self) -> tuple[str, bytes, int]:
        """What most tests compare: topic, payload and QoS."""
        return self.topic, self.payload, self.qos


@dataclass(frozen=True)
class Will:
    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False


@dataclass(frozen=True)
class Hello:
    """A CONNECT; ``flags`` replaces the flags that follow from the fields."""

    client_id: str | bytes = "client-1"
    clean: bool = True
    keepalive: int = 60
    will: Will | None = None
    username: str | None = None
    password: bytes | None = None
    protocol: bytes = b"MQTT"
    level: int = 4
    flags: int | None = None

    @property
    def packet(self) -> bytes:
        """The packet's bytes."""
        flags = 0x02 if self.clean else 0
        payload = text(self.client_id)
        if self.will is not None:
            flags |= 0x04 | (self.will.qos << 3) | (0x20 if self.will.retain else 0)
            payload += text(self.will.topic) + text(self.will.payload)
        if self.username is not None:
            flags |= 0x80
            payload += text(self.username)
        if self.password is not None:
            flags |= 0x40
            payload += text(self.password)
        flags = flags if self.flags is None else self.flags
        head = text(self.protocol) + bytes([self.level, flags])
        return frame(CONNECT, 0, head + struct.pack("!H", self.keepalive) + payload)


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("!H", len(data)) + data


def number(packet_id: int) -> bytes:
    return struct.pack("!H", packet_id)


def remaining_length(length: int) -> bytes:
    encoded = bytearray()
    while True:
        length, digit = divmod(length, 128)
        encoded.append(digit | (0x80 if length else 0))
        if not length:
            return bytes(encoded)


def frame(kind: int, flags: int, body: bytes) -> bytes:
    return bytes([kind << 4 | flags]) + remaining_length(len(body)) + body


def publish(
    topic: str | bytes,
    payload: bytes = b"x",
    qos: int = 0,
    *,
    retain: bool = False,
    dup: bool = False,
    packet_id: int = 1,
) -> bytes:
    flags = (8 if dup else 0) | qos << 1 | (1 if retain else 0)
    return frame(PUBLISH, flags, text(topic) + (number(packet_id) if qos else b"") + payload)


def subscribe(*filters: tuple[str | bytes, int], packet_id: int = 1, flags: int = 2) -> bytes:
    wanted = b"".join(text(name) + bytes([qos]) for name, qos in filters)
    return frame(SUBSCRIBE, flags, number(packet_id) + wanted)


def unsubscribe(*filters: str | bytes, packet_id: int = 1, flags: int = 2) -> bytes:
    return frame(UNSUBSCRIBE, flags, number(packet_id) + b"".join(map(text, filters)))


def acknowledgement(kind: int, packet_id: int) -> bytes:
    return frame(kind, 2 if kind == PUBREL else 0, number(packet_id))


def take_packet(came: bytearray) -> Packet | None:
    """Take the first packet off what came; None where it is not whole yet."""
    length = 0
    for place, digit in enumerate(came[1:5]):
        length |= (digit & 0x7F) << 7 * place
        if not digit & 0x80:
            start = place + 2
            if len(came) < start + length:
                return None
            packet = Packet(came[0] >> 4, came[0] & 15, bytes(came[start : start + length]))
            del came[: start + length]
            return packet
    return None


def parse_message(packet: Packet) -> Message:
    """Take a PUBLISH apart; its topic is checked to be UTF-8."""
    assert packet.kind == PUBLISH, packet
    end = 2 + int(struct.unpack_from("!H", packet.body)[0])
    topic, qos, packet_id = packet.body[2:end].decode(), packet.flags >> 1 & 3, 0
    if qos:
        packet_id = int(struct.unpack_from("!H", packet.body, end)[0])
        end += 2
    retain, dup = bool(packet.flags & 1), bool(packet.flags & 8)
    return Message(topic, packet.body[end:], qos, retain, dup, packet_id)
