"""The bytes of an MQTT client, in pieces, as the broker reads them: frames, then each packet."""

from collections.abc import Callable
from typing import Final

from broker.connect import parse_connect
from broker.frames import Frame, FrameBuffer
from broker.packets import (
    CONNECT,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBSCRIBE,
    UNSUBSCRIBE,
    parse_ack,
    parse_publish,
    parse_subscribe,
    parse_unsubscribe,
)
from client_sdk.wire.limits import MAX_PACKET_BYTES

HONEST: Final = tuple(
    bytes.fromhex(one)
    for one in (
        "102200044d51545404c2000a0007616c6963652d310007616c6963652d31000470617373",
        "820d0001000876312f752f612f2301",
        "a20c0001000876312f752f612f23",
        "330a000476312f7500026869",
        "40020001500200016202000170020001c000e000",
    )
)
PIECE_BYTES: Final = 7

_PARSERS: Final[dict[int, Callable[[Frame], object]]] = {
    CONNECT: lambda frame: parse_connect(frame.body),
    PUBLISH: lambda frame: parse_publish(frame.flags, frame.body),
    SUBSCRIBE: lambda frame: parse_subscribe(frame.body),
    UNSUBSCRIBE: lambda frame: parse_unsubscribe(frame.body),
    **{kind: lambda frame: parse_ack(frame.body) for kind in (PUBACK, PUBREC, PUBREL, PUBCOMP)},
}


def read_all(data: bytes) -> None:
    """Read ``data`` in small pieces; raises ProtocolError where it is no stream of packets."""
    frames = FrameBuffer(MAX_PACKET_BYTES)
    for start in range(0, len(data), PIECE_BYTES):
        for frame in frames.feed(data[start : start + PIECE_BYTES]):
            parser = _PARSERS.get(frame.kind)
            if parser is not None:
                parser(frame)
