"""A client that does just what a test says: it acknowledges nothing on its own."""

import asyncio
import contextlib
from typing import Self

from tests.conformance.packets import (
    ACCEPTED,
    CONNACK,
    DISCONNECT_PACKET,
    PINGREQ_PACKET,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    UNSUBACK,
    Hello,
    Message,
    Packet,
    acknowledgement,
    parse_message,
    publish,
    subscribe,
    take_packet,
    unsubscribe,
)

PATIENCE_SECONDS = 8.0
READ_BYTES = 64 * 1024
END = "end/of/test"


class ClosedError(Exception):
    """The server closed the connection."""


class Client:
    """One socket: packets as they come, PUBLISH packets that come in between kept in order."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._came = bytearray()
        self._kept: list[Message] = []
        self._packet_id = 0
        self.session_present = False

    async def greet(self, hello: Hello) -> int:
        """Send the CONNECT; the code of the CONNACK, which is the first packet."""
        self.send(hello.packet)
        answer = await self.receive()
        assert answer.kind == CONNACK, answer
        assert len(answer.body) == 2
        assert answer.body[0] in (0, 1)
        self.session_present = bool(answer.body[0])
        return answer.body[1]

    def send(self, data: bytes) -> None:
        """Send these bytes."""
        self._writer.write(data)

    async def receive(self, seconds: float = PATIENCE_SECONDS) -> Packet:
        """Return the next packet; ClosedError at the end, TimeoutError if none comes.

        What came of a packet until then is kept.
        """
        try:
            async with asyncio.timeout(seconds):
                while (packet := take_packet(self._came)) is None:
                    data = await self._reader.read(READ_BYTES)
                    if not data:
                        raise ClosedError
                    self._came += data
                return packet
        except ConnectionError as error:
            raise ClosedError from error

    async def expect(self, kind: int) -> Packet:
        """Return the next packet that is no PUBLISH: it is of this kind."""
        while True:
            packet = await self.receive()
            if packet.kind == PUBLISH and kind != PUBLISH:
                self._kept.append(parse_message(packet))
                continue
            assert packet.kind == kind, packet
            return packet

    async def message(self) -> Message:
        """Return the next message."""
        if self._kept:
            return self._kept.pop(0)
        return parse_message(await self.expect(PUBLISH))

    async def messages(self, count: int) -> list[Message]:
        """Return the next ``count`` messages, each acknowledged in full."""
        return [await self.acknowledge(await self.message()) for _ in range(count)]

    async def acknowledge(self, message: Message) -> Message:
        """Do what its QoS asks of the receiver, to the end."""
        if message.qos == 1:
            self.send(acknowledgement(PUBACK, message.packet_id))
        elif message.qos == 2:
            self.send(acknowledgement(PUBREC, message.packet_id))
            assert (await self.expect(PUBREL)).packet_id == message.packet_id
            self.send(acknowledgement(PUBCOMP, message.packet_id))
        return message

    async def publish(
        self, topic: str, payload: bytes = b"x", qos: int = 1, *, retain: bool = False
    ) -> None:
        """Publish and be acknowledged; at QoS 0 a PING tells that the server has read it."""
        packet_id = self._next_id()
        self.send(publish(topic, payload, qos, retain=retain, packet_id=packet_id))
        if qos == 0:
            await self.ping()
        elif qos == 1:
            assert (await self.expect(PUBACK)).packet_id == packet_id
        else:
            assert (await self.expect(PUBREC)).packet_id == packet_id
            self.send(acknowledgement(PUBREL, packet_id))
            assert (await self.expect(PUBCOMP)).packet_id == packet_id

    async def subscribe(self, *filters: str, qos: int = 2) -> list[int]:
        """Return the codes of the SUBACK."""
        packet_id = self._next_id()
        self.send(subscribe(*((name, qos) for name in filters), packet_id=packet_id))
        answer = await self.expect(SUBACK)
        assert answer.packet_id == packet_id
        return list(answer.body[2:])

    async def unsubscribe(self, *filters: str) -> None:
        """Return when the server said so."""
        packet_id = self._next_id()
        self.send(unsubscribe(*filters, packet_id=packet_id))
        answer = await self.expect(UNSUBACK)
        assert (answer.packet_id, len(answer.body)) == (packet_id, 2)

    async def ping(self) -> None:
        """Return when the server answered."""
        self.send(PINGREQ_PACKET)
        assert (await self.expect(PINGRESP)).body == b""

    async def all_until_end(self, publisher: "Client") -> list[Message]:
        """Return what came before a last message that ``publisher`` sends now."""
        await self.subscribe(END, qos=0)
        await publisher.publish(END, b"", qos=1)
        found: list[Message] = []
        while True:
            message = await self.acknowledge(await self.message())
            if message.topic == END:
                return found
            found.append(message)

    async def closed(self) -> list[Packet]:
        """Wait until the server closes; what it still sent before."""
        found: list[Packet] = []
        with contextlib.suppress(ClosedError):
            while True:
                found.append(await self.receive())
        await self.leave()
        return found

    async def disconnect(self) -> None:
        """Say DISCONNECT and wait for the server to close, so that it has handled it."""
        self.send(DISCONNECT_PACKET)
        await self.closed()

    async def abort(self) -> None:
        """Break the connection without a word."""
        self._writer.transport.abort()
        await self.leave()

    async def leave(self) -> None:
        """Close the socket."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    def _next_id(self) -> int:
        self._packet_id += 1
        return self._packet_id


class Clients:
    """Makes clients of one broker and closes their sockets at the end."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._made: list[Client] = []

    async def open(self) -> Client:
        """Open a socket alone."""
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self._made.append(client)
        return client

    async def connect(self, hello: Hello | None = None) -> Client:
        """Open, CONNECT and be accepted."""
        client = await self.open()
        code = await client.greet(hello or Hello())
        assert code == ACCEPTED, f"CONNACK {code}"
        return client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._made:
            await client.leave()
