"""Conversations near those of a real client: whole packets, most of them bent. Pure, by a seed."""

import random
from collections.abc import Callable, Sequence

from tests.conformance import packets
from tests.conformance.packets import Hello, Will

EDGES = (0, 1, 2, 0x0F, 0x10, 0x7F, 0x80, 0xC2, 0xED, 0xF0, 0xFE, 0xFF)
TOPICS = (
    *("a", "a/b", "/", "$SYS/x", "forbidden/a", "../..", "%u", "ü\ufeff", "😀", "a\x01b"),
    *("v1/u/bob-1/in/mallory-1/aaaaaaaaaaaaaaaaaaaaaaaaaa", "v1/u/bob-1/kd/x"),
    *("a" * 512, "a" * 513, "/".join("abcdefgh"), "/".join("abcdefghi")),
)
FILTERS = (
    *(
        "#",
        "+",
        "+/#",
        "a/+/b",
        "$share/g/#",
        "v1/u/bob-1/#",
        "v1/u/carol-1/in/+/+",
        "v1/kd/req/+/+",
    ),
    *("+/" * 7 + "+", "+/" * 8 + "#"),
)
BAD_WORDS = ("", "a/#/b", "a+", "##", "a\0b", "#/a")
PAYLOADS = (b"", b"x", b"\x00" * 40, b"\xff" * 300, b"z" * 20_000)
MAX_PACKETS = 8


class Mutator:
    """Draws conversations; the same seed draws the same ones."""

    def __init__(self, seed: int, logins: Sequence[Hello]) -> None:
        """Begin with ``logins``, the CONNECT packets that a server accepts."""
        self._draw = random.Random(seed)
        self._logins = logins
        self.bent = 0
        """How many packets were changed after they were made."""
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
        changes = self._draw.choice((0, 0, 0, 0, 1, 1, 2, 5))
        self.bent += changes > 0
        for _ in range(changes):
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

    def _topic(self) -> str:
        return self._draw.choice(TOPICS if self._draw.random() < 0.9 else FILTERS + BAD_WORDS)

    def _filter(self) -> str:
        return self._draw.choice(FILTERS + TOPICS if self._draw.random() < 0.9 else BAD_WORDS)

    def _id(self) -> int:
        return self._draw.choice((1, 1, 2, 3, 256, 65_535) if self._draw.random() < 0.9 else (0,))

    def _publish(self) -> bytes:
        draw = self._draw
        return packets.publish(
            self._topic(),
            draw.choice(PAYLOADS),
            draw.choice((0, 1, 1, 2, 2, 2)),
            retain=draw.random() < 0.5,
            dup=draw.random() < 0.1,
            packet_id=self._id(),
        )

    def _subscribe(self) -> bytes:
        draw = self._draw
        wanted = [(self._filter(), draw.randrange(3)) for _ in range(draw.randint(1, 4))]
        return packets.subscribe(*wanted, packet_id=self._id())

    def _unsubscribe(self) -> bytes:
        words = [self._filter() for _ in range(self._draw.randint(1, 4))]
        return packets.unsubscribe(*words, packet_id=self._id())

    def _acknowledgement(self) -> bytes:
        return packets.acknowledgement(self._draw.randrange(4, 8), self._id())

    def _connect(self) -> bytes:
        draw = self._draw
        will = Will(self._topic(), draw.choice(PAYLOADS), draw.randrange(4), draw.random() < 0.5)
        return Hello(
            self._topic(),
            clean=draw.random() < 0.5,
            keepalive=draw.choice((0, 1, 60, 65_535)),
            will=will if draw.random() < 0.5 else None,
            username=self._topic() if draw.random() < 0.7 else None,
            password=draw.randbytes(5) if draw.random() < 0.7 else None,
            level=draw.choice((4, 4, 4, 3, 5, 0, 255)),
            flags=draw.randrange(256) if draw.random() < 0.2 else None,
        ).packet
