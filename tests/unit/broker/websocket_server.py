"""A WebSocket listener whose inner protocol records what it is told, and raw frames for it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from websockets.frames import Frame, Opcode
from websockets.typing import Subprotocol

from broker.websocket import WebSocketProtocol

MQTT = [Subprotocol("mqtt")]
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = {
    "Host": "localhost",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": "mqtt",
}


class Inner(asyncio.Protocol):
    """Keeps what it gets, and writes it back where it is an echo."""

    def __init__(self, *, echo: bool = False) -> None:
        self.echo = echo
        self.received = bytearray()
        self.calls: list[str] = []
        self.changed = asyncio.Event()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._note("made")

    def data_received(self, data: bytes) -> None:
        assert data
        self.received += data
        self._note("data")
        if self.echo:
            self.transport.write(data)

    def pause_writing(self) -> None:
        self._note("pause")

    def resume_writing(self) -> None:
        self._note("resume")

    def eof_received(self) -> None:
        self._note("eof")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._note("lost")

    async def until(self, call: str) -> None:
        while call not in self.calls:
            self.changed.clear()
            await self.changed.wait()

    async def until_received(self, count: int) -> bytes:
        while len(self.received) < count:
            self.changed.clear()
            await self.changed.wait()
        return bytes(self.received)

    def _note(self, call: str) -> None:
        self.calls.append(call)
        self.changed.set()


@dataclass
class Listener:
    port: int
    echo: bool
    inners: list[Inner] = field(default_factory=list)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    def inner(self) -> Inner:
        made = Inner(echo=self.echo)
        self.inners.append(made)
        self.opened.set()
        return made

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/mqtt"


@asynccontextmanager
async def listening(
    *, echo: bool = False, origins: Sequence[str] = (), context: ssl.SSLContext | None = None
) -> AsyncIterator[Listener]:
    listener = Listener(0, echo)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: WebSocketProtocol(listener.inner, origins), "127.0.0.1", 0, ssl=context
    )
    listener.port = server.sockets[0].getsockname()[1]
    try:
        yield listener
    finally:
        server.close()
        for inner in listener.inners:
            inner.transport.abort()
        for inner in listener.inners:
            await inner.until("lost")


def request(path: str = "/mqtt", *, without: str | None = None, **changed: str) -> bytes:
    headers = {**UPGRADE, **{name.replace("_", "-"): text for name, text in changed.items()}}
    lines = [f"{name}: {text}" for name, text in headers.items() if name != without]
    return "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode()


def frame(data: bytes, opcode: Opcode = Opcode.BINARY, *, fin: bool = True) -> bytes:
    """One frame as a client sends it: masked."""
    return Frame(opcode, data, fin).serialize(mask=True)


class RawSocket:
    """A plain socket to a listener."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def status(self) -> int:
        """Read one HTTP answer; return its status."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        return int(head.split()[1])

    async def frame(self) -> tuple[int, bytes]:
        """Read one frame of the server; return opcode and content."""
        first, second = await self.reader.readexactly(2)
        length = second & 0x7F
        if length == 126:
            length = int.from_bytes(await self.reader.readexactly(2))
        elif length == 127:
            length = int.from_bytes(await self.reader.readexactly(8))
        return first & 0x0F, await self.reader.readexactly(length)

    async def rest(self) -> bytes:
        return await self.reader.read()


@asynccontextmanager
async def raw_socket(listener: Listener, *, upgraded: bool = True) -> AsyncIterator[RawSocket]:
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    try:
        raw = RawSocket(reader, writer)
        if upgraded:
            writer.write(request())
            assert await raw.status() == 101
        yield raw
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
