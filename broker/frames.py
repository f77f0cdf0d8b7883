"""MQTT packets out of a byte stream: size first, then the whole packet. Pure, no I/O."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from broker.packets import (
    CONNECT,
    DISCONNECT,
    PINGREQ,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBSCRIBE,
    UNSUBSCRIBE,
)
from client_sdk.wire.errors import MalformedError, TooLargeError

_FLAGS: Final = {
    CONNECT: 0,
    PUBACK: 0,
    PUBREC: 0,
    PUBREL: 2,
    PUBCOMP: 0,
    SUBSCRIBE: 2,
    UNSUBSCRIBE: 2,
    PINGREQ: 0,
    DISCONNECT: 0,
}
"""The packets a client may send besides PUBLISH, and the flags each must carry."""

_FIRST_BYTES: Final = frozenset(
    [kind << 4 | flags for kind, flags in _FLAGS.items()]
    + [PUBLISH << 4 | flags for flags in range(16)]
)
_MAX_LENGTH_BYTES: Final = 4


class Frame(NamedTuple):
    """One packet, whole but not yet parsed."""

    kind: int
    flags: int
    body: bytes


class FrameBuffer:
    """The bytes of one client that do not make a whole packet yet; never more than one packet's."""

    def __init__(self, max_packet_bytes: int) -> None:
        """Start with none."""
        self._max = max_packet_bytes
        self._rest = bytearray()
        self._needed = 0

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield each packet that ``data`` completes; all of them have to be taken.

        Raises:
            TooLargeError: A packet announces more than the limit; its body was not kept.
            MalformedError: It is no packet that a client of MQTT 3.1.1 sends.
        """
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return
            data = bytes(self._rest)
            self._rest.clear()
        position, end = 0, len(data)
        while position < end:
            start, stop = self._measure(data, position)
            if start == 0 or stop > end:
                self._rest += data[position:]
                # Without the whole length more is looked at with every byte: at most five times.
                self._needed = stop - position if start else 0
                return
            first = data[position]
            yield Frame(first >> 4, first & 0x0F, data[start:stop])
            position = stop

    def _measure(self, data: bytes, position: int) -> tuple[int, int]:
        """Return where the body begins and ends; 0 and 0 where the length is not whole yet."""
        if data[position] not in _FIRST_BYTES:
            raise MalformedError("not a packet that a client sends here")
        length, shift = 0, 0
        header = data[position + 1 : position + 1 + _MAX_LENGTH_BYTES]
        for index, byte in enumerate(header, start=position + 2):
            length |= (byte & 0x7F) << shift
            if not byte & 0x80:
                if index - position + length > self._max:
                    raise TooLargeError(f"a packet of more than {self._max} bytes")
                return index, index + length
            shift += 7
        if len(header) == _MAX_LENGTH_BYTES:
            raise MalformedError("a remaining length of more than four bytes")
        return 0, 0
