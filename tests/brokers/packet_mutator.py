"""Conversations near those of a real client: whole packets, most of them bent. Pure, by a seed."""

import random
from collections.abc import Callable, Sequence

from tests.conformance import packets
from tests.conformance.packets import Hello, Will

EDGES = (0, 1, 2, 0x0F, 0x10, 0x7F, 0x80, 0xC2, 0xED, 0xF0, 0xFE, 0xFF)
WORDS = (
    *("a", "a/b", "#", "+", "+/#", "a/+/b", "", "/", "$SYS/x", "$share/g/#", "forbidden/a"),
    *("v1/u/bob-1/#", "v1/u/bob-1/in/mallory-1/aaaaaaaaaaaaaaaaaaaaaaaaaa", "v1/kd/req/+/+"),
    *("ü\ufeff", "a" * 513, "/".join("abcdefghij"), "😀", "../..", "%u", "a\x01b"),
)
PAYLOADS = (b"", b"x", b"\x00" * 40, b"\xff" * 300, b"z" * 20_000)
MAX_PACKETS = 8


class Mutator:
    """Draws conversations; the same seed draws the same ones."""

    def __init__(self, seed: int, logins: Sequence[Hello]) -> None:
        """Begin with ``logins``, the CONNECT packets that a server accepts."""
        self._draw = random.Random(seed)
        self._logins = logins
        self._makers: tuple[Callable[[], bytes], ...] = (
            self._publish,
            self._publish,
            self._subscribe,
            self._unsubscribe,
            self._acknowledgement,
            self._connect,
            lambda: packets.PINGREQ_PACKET,
            lambda: packets.DISCONNECT_PACKET,
        )

    def conversation(self) -> list[bytes]:
        """Return the packets of one connection: as a rule a good CONNECT, then anything."""
        draw = self._draw
        first = draw.choice(self._logins).packet if draw.random() < 0.8 else self._bent()
        return [first, *(self._bent() for _ in range(draw.randint(1, MAX_PACKETS)))]

    def cut(self, data: bytes) -> list[bytes]:
        """Return ``data`` in the pieces in which it is written."""
        at = self._draw.randrange(len(data) + 1)
        return [data] if self._draw.random() < 0.7 else [data[:at], data[at:]]

    def _bent(self) -> bytes:
        packet = self._draw.choice(self._makers)()
        for _ in range(self._draw.choice((0, 1, 1, 1, 2, 5))):
            packet = self._mutated(packet)
        return packet

    def _mutated(self, packet: bytes) -> bytes:
        draw, data = self._draw, bytearray(packet)
        at = draw.randrange(len(data)) if data else 0
        match draw.randrange(9):
            case 0 if data:
                data[at] ^= 1 << draw.randrange(8)
            case 1 if data:
                data[at] = draw.choice(EDGES)
            case 2:
                del data[at : at + draw.randint(1, 8)]
            case 3:
                data[at:at] = draw.randbytes(draw.randint(1, 8))
            case 4:
                data[at:at] = data[at : at + draw.randint(1, 40)]
            case 5 if data:
                data[0] = draw.randrange(256)
            case 6:
                wrong = packets.remaining_length(draw.choice((0, 1, 127, 128, 131_000, 2**28 - 1)))
                data[1:2] = wrong
            case 7:
                data += draw.choice(self._makers)()[: draw.randint(1, 20)]
            case _:
                data[at : at + 2] = draw.randbytes(2)
        return bytes(data)

    def _word(self) -> str:
        return self._draw.choice(WORDS)

    def _id(self) -> int:
        return self._draw.choice((0, 1, 2, 3, 255, 256, 65_535))

    def _publish(self) -> bytes:
        draw = self._draw
        return packets.publish(
            self._word(),
            draw.choice(PAYLOADS),
            draw.randrange(4),
            retain=draw.random() < 0.5,
            dup=draw.random() < 0.2,
            packet_id=self._id(),
        )

    def _subscribe(self) -> bytes:
        draw = self._draw
        wanted = [(self._word(), draw.choice((0, 1, 2, 3, 128))) for _ in range(draw.randrange(4))]
        return packets.subscribe(*wanted, packet_id=self._id())

    def _unsubscribe(self) -> bytes:
        words = [self._word() for _ in range(self._draw.randrange(4))]
        return packets.unsubscribe(*words, packet_id=self._id())

    def _acknowledgement(self) -> bytes:
        return packets.acknowledgement(self._draw.randrange(2, 15), self._id())

    def _connect(self) -> bytes:
        draw = self._draw
        will = Will(self._word(), draw.choice(PAYLOADS), draw.randrange(4), draw.random() < 0.5)
        return Hello(
            self._word(),
            clean=draw.random() < 0.5,
            keepalive=draw.choice((0, 1, 60, 65_535)),
            will=will if draw.random() < 0.5 else None,
            username=self._word() if draw.random() < 0.7 else None,
            password=draw.randbytes(5) if draw.random() < 0.7 else None,
            level=draw.choice((4, 4, 4, 3, 5, 0, 255)),
            flags=draw.randrange(256) if draw.random() < 0.2 else None,
        ).packet
