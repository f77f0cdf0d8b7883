"""MQTT packets from a socket: size first, then the whole packet, then its fields."""

import asyncio
import struct
from typing import Any, Final, NamedTuple

from amqtt.adapters import BufferReader
from amqtt.errors import AMQTTError, CodecError, MQTTError, NoDataError
from amqtt.mqtt import packet_class
from amqtt.mqtt.packet import (
    CONNECT,
    DISCONNECT,
    PINGREQ,
    PUBACK,
    PUBLISH,
    SUBSCRIBE,
    UNSUBSCRIBE,
    MQTTFixedHeader,
    MQTTPacket,
)

from client_sdk.wire.errors import MalformedError, TooLargeError
from client_sdk.wire.limits import MAX_PACKET_BYTES

_FLAGS: Final = {CONNECT: 0, PUBACK: 0, SUBSCRIBE: 2, UNSUBSCRIBE: 2, PINGREQ: 0, DISCONNECT: 0}
"""The packets a client may send besides PUBLISH, and the flags each must carry."""

_MAX_LENGTH_BYTES: Final = 4


class Frame(NamedTuple):
    """One packet, whole but not yet parsed."""

    kind: int
    flags: int
    prefix: bytes
    body: bytes


async def read_frame(reader: asyncio.StreamReader) -> Frame | None:
    """Read one packet; None when the peer closed the connection between two packets.

    Raises:
        TooLargeError: It announces more than ``MAX_PACKET_BYTES``; its body was not read.
        MalformedError: It is no packet that a client of MQTT 3.1.1 sends, or ends early.
    """
    first = await reader.read(1)
    if not first:
        return None
    kind, flags = first[0] >> 4, first[0] & 0x0F
    if kind != PUBLISH and _FLAGS.get(kind) != flags:
        raise MalformedError("not a packet that a client sends here")
    try:
        prefix, length = await _read_length(reader, first)
        if len(prefix) + length > MAX_PACKET_BYTES:
            raise TooLargeError(f"a packet of more than {MAX_PACKET_BYTES} bytes")
        return Frame(kind, flags, prefix, await reader.readexactly(length))
    except asyncio.IncompleteReadError as error:
        raise MalformedError("the connection ended inside a packet") from error


async def parse(frame: Frame) -> MQTTPacket[Any, Any, Any]:
    """Return the packet in ``frame``; raises MalformedError where there is none."""
    header = MQTTFixedHeader(frame.kind, frame.flags, len(frame.body))
    try:
        return await packet_class(header).from_stream(BufferReader(frame.body), header)
    except (AMQTTError, MQTTError, CodecError, NoDataError, ValueError, struct.error) as error:
        raise MalformedError("not a well-formed packet") from error


async def _read_length(reader: asyncio.StreamReader, first: bytes) -> tuple[bytes, int]:
    prefix, length = bytearray(first), 0
    for position in range(_MAX_LENGTH_BYTES):
        byte = (await reader.readexactly(1))[0]
        prefix.append(byte)
        length |= (byte & 0x7F) << (7 * position)
        if not byte & 0x80:
            return bytes(prefix), length
    raise MalformedError("a remaining length of more than four bytes")
