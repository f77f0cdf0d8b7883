"""A hand-written MQTT 3.1.1 client: it sends just what a test says, also what no library would."""

import asyncio
import contextlib
import struct
from dataclasses import dataclass
from typing import NamedTuple

ANSWER_SECONDS = 30.0
"""A deadline, not a measurement: the machine may be busy."""

QUIET_SECONDS = 0.3


class Received(NamedTuple):
    topic: str
    payload: bytes
    qos: int
    retain: bool
    packet_id: int


@dataclass(frozen=True)
class Will:
    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("!H", len(data)) + data


def packet(first_byte: int, body: bytes) -> bytes:
    length, encoded = len(body), bytearray()
    while True:
        length, digit = divmod(length, 128)
        encoded.append(digit | (0x80 if length else 0))
        if not length:
            return bytes([first_byte]) + bytes(encoded) + body


def connect_packet(
    client_id: str,
    username: str,
    password: str,
    *,
    clean: bool = True,
    keepalive: int = 60,
    will: Will | None = None,
) -> bytes:
    flags = 0xC0 | (0x02 if clean else 0)
    payload = text(client_id)
    if will is not None:
        flags |= 0x04 | (will.qos << 3) | (0x20 if will.retain else 0)
        payload += text(will.topic) + text(will.payload)
    head = text("MQTT") + bytes([4, flags]) + struct.pack("!H", keepalive)
    return packet(0x10, head + payload + text(username) + text(password))


def publish_packet(
    topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, packet_id: int = 1
) -> bytes:
    number = struct.pack("!H", packet_id) if qos else b""
    first = 0x30 | (qos << 1) | (1 if retain else 0)
    return packet(first, text(topic) + number + payload)


class RawClient:
    """One socket; answers are read in order, messages are kept beside them."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self.messages: list[Received] = []
        self._packet_id = 0

    @classmethod
    async def open(cls, port: int) -> "RawClient":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    @classmethod
    async def login(cls, port: int, login: str, password: str | None = None) -> "RawClient":
        client = await cls.open(port)
        code = await client.connect(login, login, password or f"secret of {login}")
        assert code == 0, f"CONNACK {code}"
        return client

    async def connect(
        self,
        client_id: str,
        username: str,
        password: str,
        *,
        clean: bool = True,
        keepalive: int = 60,
        will: Will | None = None,
    ) -> int | None:
        """Return the CONNACK code, None where the connection was closed instead."""
        self.writer.write(
            connect_packet(
                client_id, username, password, clean=clean, keepalive=keepalive, will=will
            )
        )
        answer = await self.answer(0x20)
        return None if answer is None else answer[1]

    async def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = True
    ) -> bool:
        """Publish and, at QoS 1, wait for the PUBACK; False where the connection closed."""
        self._packet_id += 1
        self.writer.write(
            publish_packet(topic, payload, qos=qos, retain=retain, packet_id=self._packet_id)
        )
        return qos == 0 or await self.answer(0x40) is not None

    async def subscribe(self, *filters: str, qos: int = 0) -> list[int] | None:
        """Return the SUBACK codes, None where the connection was closed instead."""
        body = struct.pack("!H", 7) + b"".join(text(item) + bytes([qos]) for item in filters)
        self.writer.write(packet(0x82, body))
        answer = await self.answer(0x90)
        return None if answer is None else list(answer[2:])

    async def ping(self) -> bool:
        """Tell whether the connection still answers."""
        try:
            self.writer.write(packet(0xC0, b""))
            return await self.answer(0xD0) is not None
        except ConnectionError:
            return False

    async def answer(self, kind: int) -> bytes | None:
        """Read up to the packet of ``kind``; None at the end of the connection."""
        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                found = await self._next()
                if found is None:
                    return None
                if found[0] & 0xF0 == kind:
                    return found[1]

    async def is_closed(self, seconds: float = ANSWER_SECONDS) -> bool:
        """Wait for the server to close the connection; False when it did not in time."""
        try:
            async with asyncio.timeout(seconds):
                while await self._next() is not None:
                    pass
        except TimeoutError:
            return False
        return True

    async def until(self, count: int, seconds: float = ANSWER_SECONDS) -> list[Received]:
        """Read until ``count`` messages arrived, or none came for so long."""
        while len(self.messages) < count and await self._one_more(seconds):
            pass
        return self.messages

    async def until_quiet(self) -> list[Received]:
        """Read until nothing came for a moment: for what must not arrive."""
        while await self._one_more(QUIET_SECONDS):
            pass
        return self.messages

    async def disconnect(self) -> None:
        self.writer.write(packet(0xE0, b""))
        await self.close()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    def abort(self) -> None:
        self.writer.transport.abort()

    async def _one_more(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self._next() is not None
        except TimeoutError:
            return False

    async def _next(self) -> tuple[int, bytes] | None:
        try:
            first = (await self._reader.readexactly(1))[0]
            length, shift = 0, 0
            while True:
                digit = (await self._reader.readexactly(1))[0]
                length |= (digit & 0x7F) << shift
                shift += 7
                if not digit & 0x80:
                    break
            body = await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        if first & 0xF0 == 0x30:
            self._keep(first, body)
        return first, body

    def _keep(self, first: int, body: bytes) -> None:
        end = 2 + struct.unpack_from("!H", body)[0]
        topic, qos, packet_id = body[2:end].decode(), (first >> 1) & 3, 0
        if qos:
            packet_id = struct.unpack_from("!H", body, end)[0]
            end += 2
            self.writer.write(packet(0x40, struct.pack("!H", packet_id)))
        self.messages.append(Received(topic, body[end:], qos, bool(first & 1), packet_id))
