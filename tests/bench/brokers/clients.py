"""Clients of the load: a raw socket that is faster than the brokers, and paho to compare with."""

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

from paho.mqtt.client import Client as PahoLibrary
from paho.mqtt.client import MQTTMessage, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion

from tests.bench.brokers.names import secret_of
from tests.brokers.raw_client import connect_packet
from tests.conformance.packets import DISCONNECT_PACKET, publish, subscribe

LOGIN_SECONDS: Final = 30.0
KEEPALIVE_SECONDS: Final = 1200
"""Longer than a run: no client of the load sends pings."""

_PACKET_IDS: Final = 65_535
_PUBLISH, _PUBACK, _CONNACK, _SUBACK = 3, 4, 2, 9


class RefusedError(Exception):
    """The broker refused a login or a subscription, or closed the connection."""


def ignore(*_facts: object) -> None:
    """Take nothing from what arrives."""


class Client(Protocol):
    """What the load needs; both callbacks may come from another thread."""

    on_message: Callable[[bytes, bytes], None]
    on_ack: Callable[[], None]

    async def open(self, port: int, login: str) -> None:
        """Log in."""
        ...

    async def subscribe(self, topic_filter: str, qos: int) -> None:
        """Subscribe and wait for the answer."""
        ...

    def publish(self, topic: bytes, payload: bytes, *, retain: bool) -> None:
        """Hand one message over at QoS 1; ``on_ack`` tells that it was acknowledged."""
        ...

    def flush(self) -> None:
        """Send what was handed over outside of a callback."""
        ...

    async def close(self) -> None:
        """Disconnect."""
        ...


class RawClient(asyncio.Protocol):
    """One socket with TCP_NODELAY, which asyncio sets; all answers to one read are one write."""

    def __init__(self) -> None:
        self.on_message: Callable[[bytes, bytes], None] = ignore
        self.on_ack: Callable[[], None] = ignore
        self._in, self._out = b"", bytearray()
        self._packet_id = 0
        self._answers: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
        self._transport: asyncio.Transport | None = None

    async def open(self, port: int, login: str) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, "127.0.0.1", port)
        self._out += connect_packet(login, login, secret_of(login), keepalive=KEEPALIVE_SECONDS)
        answer = await self._answer(_CONNACK)
        if answer[1] != 0:
            raise RefusedError(f"the login {login} was refused: {answer[1]}")

    async def subscribe(self, topic_filter: str, qos: int) -> None:
        self._out += subscribe((topic_filter, qos))
        if (await self._answer(_SUBACK))[2] == 0x80:
            raise RefusedError(f"the subscription to {topic_filter} was refused")

    def publish(self, topic: bytes, payload: bytes, *, retain: bool) -> None:
        self._packet_id = self._packet_id % _PACKET_IDS + 1
        length = 4 + len(topic) + len(payload)
        if 128 <= length < 16_384:  # the usual case, without calls
            head = bytes((0x33 if retain else 0x32, length & 0x7F | 0x80, length >> 7))
            number = self._packet_id.to_bytes(2)
            self._out += b"".join((head, len(topic).to_bytes(2), topic, number, payload))
            return
        self._out += publish(topic, payload, 1, retain=retain, packet_id=self._packet_id)

    def flush(self) -> None:
        if self._out and self._transport is not None:
            self._transport.write(bytes(self._out))
            self._out.clear()

    async def close(self) -> None:
        if self._transport is not None:
            self._out += DISCONNECT_PACKET
            self.flush()
            self._transport.close()
        await asyncio.sleep(0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        self._transport = None
        self._answers.put_nowait((0, b""))

    def data_received(self, data: bytes) -> None:
        held = self._in + data if self._in else data
        at, end = 0, len(held)
        while True:
            begin, length, shift = at + 1, 0, 0
            while begin < end and (digit := held[begin]) & 0x80:
                length |= (digit & 0x7F) << shift
                begin, shift = begin + 1, shift + 7
            if begin >= end:
                break
            length |= held[begin] << shift
            begin += 1
            if begin + length > end:
                break
            self._took(held[at], held[begin : begin + length])
            at = begin + length
        self._in = held[at:]
        self.flush()

    def _took(self, first: int, body: bytes) -> None:
        kind = first >> 4
        if kind == _PUBACK:
            self.on_ack()
        elif kind == _PUBLISH:
            begin = 2 + (body[0] << 8 | body[1])
            topic = body[2:begin]
            if first & 0x06:
                self._out += b"\x40\x02" + body[begin : begin + 2]
                begin += 2
            self.on_message(topic, body[begin:])
        else:
            self._answers.put_nowait((kind, body))

    async def _answer(self, wanted: int) -> bytes:
        self.flush()
        async with asyncio.timeout(LOGIN_SECONDS):
            while True:
                kind, body = await self._answers.get()
                if kind == 0:
                    raise RefusedError("the broker closed the connection")
                if kind == wanted:
                    return body


class PahoClient:
    """paho-mqtt with its own thread, which is where the callbacks come from."""

    def __init__(self) -> None:
        self.on_message: Callable[[bytes, bytes], None] = ignore
        self.on_ack: Callable[[], None] = ignore
        self._library: PahoLibrary | None = None
        self._subscribed = asyncio.Event()

    async def open(self, port: int, login: str) -> None:
        library = PahoLibrary(CallbackAPIVersion.VERSION2, client_id=login, protocol=MQTTv311)
        loop, connected = asyncio.get_running_loop(), asyncio.Event()

        def answered(_client: Any, _data: Any, _flags: Any, code: Any, _more: Any) -> None:
            if not code.is_failure:
                loop.call_soon_threadsafe(connected.set)

        library.username_pw_set(login, secret_of(login))
        library.max_inflight_messages_set(_PACKET_IDS)
        library.on_connect = answered
        library.on_message = self._took
        library.on_publish = lambda *_: self.on_ack()
        library.on_subscribe = lambda *_: loop.call_soon_threadsafe(self._subscribed.set)
        library.connect("127.0.0.1", port, KEEPALIVE_SECONDS)
        library.loop_start()
        self._library = library
        async with asyncio.timeout(LOGIN_SECONDS):
            await connected.wait()

    async def subscribe(self, topic_filter: str, qos: int) -> None:
        assert self._library is not None
        self._subscribed.clear()
        self._library.subscribe(topic_filter, qos)
        async with asyncio.timeout(LOGIN_SECONDS):
            await self._subscribed.wait()

    def publish(self, topic: bytes, payload: bytes, *, retain: bool) -> None:
        assert self._library is not None
        self._library.publish(topic.decode(), payload, qos=1, retain=retain)

    def flush(self) -> None:
        """Do nothing: paho sends by itself."""

    async def close(self) -> None:
        if self._library is not None:
            self._library.disconnect()
            await asyncio.to_thread(self._library.loop_stop)

    def _took(self, _client: Any, _data: Any, message: MQTTMessage) -> None:
        self.on_message(message.topic.encode(), bytes(message.payload))


CLIENTS: Final[dict[str, Callable[[], Client]]] = {"raw": RawClient, "paho": PahoClient}
