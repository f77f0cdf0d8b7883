"""WebSocket frames around the bytes of a conversation, most of them right. Pure, by a seed."""

import base64
import random
import struct

BINARY = 2
_MASK, _FIN = 0x80, 0x80


class FrameMutator:
    """Draws an upgrade and frames; the same seed draws the same ones."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)

    def stream(self, data: bytes) -> bytes:
        """Return what a client writes to send ``data``, with a fault in some of it."""
        upgrade = self._upgrade()
        if self._draw.random() < 0.05:
            upgrade = self._bent(upgrade)
        return upgrade + b"".join(self._frames(data))

    def _upgrade(self) -> bytes:
        key = base64.b64encode(self._draw.randbytes(16))
        lines = [
            b"GET /mqtt HTTP/1.1",
            b"Host: localhost",
            b"Connection: Upgrade",
            b"Upgrade: websocket",
            b"Sec-WebSocket-Version: 13",
            b"Sec-WebSocket-Protocol: mqtt",
            b"Sec-WebSocket-Key: " + key,
        ]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _frames(self, data: bytes) -> list[bytes]:
        draw, frames = self._draw, []
        while data:
            size = draw.choice((1, 2, 30, 125, 126, 127, 65_535, 65_536))
            frame = self._frame(data[:size], BINARY)
            data = data[size:]
            match draw.randrange(40):
                case 0:
                    frame = self._bent(frame)
                case 1:
                    frame += self._frame(draw.randbytes(draw.choice((0, 1, 125))), 9)
                case 2:
                    frame += self._frame(draw.randbytes(200), draw.randrange(16))
                case 3:
                    frame = self._frame(b"no binary", 1) + frame
            frames.append(frame)
        if draw.random() < 0.3:
            frames.append(self._frame(draw.choice((b"", b"\x03\xe8", b"\x00", b"\xff\xff")), 8))
        return frames

    def _frame(self, payload: bytes, opcode: int) -> bytes:
        key, size = self._draw.randbytes(4), len(payload)
        head = bytes([_FIN | opcode])
        if size < 126:
            head += bytes([_MASK | size])
        elif size < 2**16:
            head += bytes([_MASK | 126]) + struct.pack("!H", size)
        else:
            head += bytes([_MASK | 127]) + struct.pack("!Q", size)
        return head + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))

    def _bent(self, data: bytes) -> bytes:
        bent, at = bytearray(data), self._draw.randrange(min(len(data), 16))
        bent[at] ^= 1 << self._draw.randrange(8)
        return bytes(bent)
