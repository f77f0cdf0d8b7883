"""A device at a raw socket: it acknowledges by itself, keeps what arrives and survives its end.

The packets and the socket are those of the conformance tests, whose client acknowledges nothing.
"""

import asyncio
import contextlib

from tests.conformance.client import Client, ClosedError
from tests.conformance.packets import (
    CONNACK,
    DISCONNECT_PACKET,
    PINGREQ_PACKET,
    PINGRESP,
    PUBACK,
    PUBLISH,
    SUBACK,
    UNSUBACK,
    Hello,
    Message,
    Packet,
    Will,
    acknowledgement,
    parse_message,
    publish,
    subscribe,
    unsubscribe,
)

ANSWER_SECONDS = 30.0
"""A deadline, not a measurement: the machine may be busy."""

QUIET_SECONDS = 0.3


def connect_packet(
    client_id: str,
    username: str,
    password: str,
    *,
    clean: bool = True,
    keepalive: int = 60,
    will: Will | None = None,
) -> bytes:
    """Return the first packet of a login."""
    secret = password.encode()
    return Hello(client_id, clean, keepalive, will, username, secret).packet


class RawClient:
    """One socket; answers are read in order, messages are kept beside them."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._socket = Client(reader, writer)
        self.writer = writer
        self.messages: list[Message] = []
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
        answer = await self.answer(CONNACK)
        return None if answer is None else answer[1]

    async def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = True
    ) -> bool:
        """Publish and, at QoS 1, wait for the PUBACK; False where the connection closed."""
        self._packet_id += 1
        self.writer.write(publish(topic, payload, qos, retain=retain, packet_id=self._packet_id))
        return qos == 0 or await self.answer(PUBACK) is not None

    async def subscribe(self, *filters: str, qos: int = 0) -> list[int] | None:
        """Return the SUBACK codes, None where the connection was closed instead."""
        self.writer.write(subscribe(*((one, qos) for one in filters)))
        answer = await self.answer(SUBACK)
        return None if answer is None else list(answer[2:])

    async def unsubscribe(self, topic_filter: str) -> None:
        """Return when the server said so."""
        self.writer.write(unsubscribe(topic_filter))
        assert await self.answer(UNSUBACK) == b"\x00\x01"

    async def ping(self) -> bool:
        """Tell whether the connection still answers."""
        try:
            self.writer.write(PINGREQ_PACKET)
            return await self.answer(PINGRESP) is not None
        except ConnectionError:
            return False

    async def answer(self, kind: int) -> bytes | None:
        """Read up to the packet of ``kind``; None at the end of the connection."""
        async with asyncio.timeout(ANSWER_SECONDS):
            while (found := await self._next()) is not None:
                if found.kind == kind:
                    return found.body
        return None

    async def is_closed(self, seconds: float = ANSWER_SECONDS) -> bool:
        """Wait for the server to close the connection; False when it did not in time."""
        try:
            async with asyncio.timeout(seconds):
                while await self._next() is not None:
                    pass
        except TimeoutError:
            return False
        return True

    async def until(self, count: int, seconds: float = ANSWER_SECONDS) -> list[Message]:
        """Read until ``count`` messages arrived, or none came for so long."""
        while len(self.messages) < count and await self._one_more(seconds):
            pass
        return self.messages

    async def until_quiet(self) -> list[Message]:
        """Read until nothing came for a moment: for what must not arrive."""
        while await self._one_more(QUIET_SECONDS):
            pass
        return self.messages

    async def disconnect(self) -> None:
        self.writer.write(DISCONNECT_PACKET)
        await self.close()

    async def close(self) -> None:
        await self._socket.leave()

    def abort(self) -> None:
        self.writer.transport.abort()

    async def _one_more(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            return await self._next(seconds) is not None
        return False

    async def _next(self, seconds: float = ANSWER_SECONDS) -> Packet | None:
        try:
            found = await self._socket.receive(seconds)
        except ClosedError:
            return None
        if found.kind == PUBLISH:
            message = parse_message(found)
            if message.qos:
                self.writer.write(acknowledgement(PUBACK, message.packet_id))
            self.messages.append(message)
        return found
