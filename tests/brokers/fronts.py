"""Listeners before a broker's plain port: TLS, WebSocket or both, one connection behind each."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from broker.websocket import WebSocketProtocol


class _Pipe(asyncio.Protocol):
    """One side of a connection that is passed on; the other side is made with it."""

    def __init__(self, port: int, connected: "list[_Pipe]") -> None:
        self._port = port
        self._connected = connected
        self._behind: asyncio.Transport | None = None
        self._early: list[bytes] = []
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._connected.append(self)
        self._connecting = asyncio.create_task(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        behind, _ = await loop.create_connection(lambda: _Back(self), "127.0.0.1", self._port)
        self._behind = behind
        behind.write(b"".join(self._early))

    def data_received(self, data: bytes) -> None:
        if self._behind is None:
            self._early.append(data)
        else:
            self._behind.write(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._connecting.cancel()
        if self._behind is not None:
            self._behind.close()


class _Back(asyncio.Protocol):
    def __init__(self, front: _Pipe) -> None:
        self._front = front

    def data_received(self, data: bytes) -> None:
        self._front.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._front.transport.close()


@asynccontextmanager
async def front(
    port: int,
    context: ssl.SSLContext | None = None,
    *,
    websocket: bool = False,
    origins: Sequence[str] = (),
) -> AsyncIterator[int]:
    """Listen before a broker's port; yield the port in front."""
    pipes: list[_Pipe] = []

    def pipe() -> _Pipe:
        return _Pipe(port, pipes)

    def wrapped() -> WebSocketProtocol:
        return WebSocketProtocol(pipe, origins)

    server = await asyncio.get_running_loop().create_server(
        wrapped if websocket else pipe, "127.0.0.1", 0, ssl=context
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for one in pipes:
            one.transport.abort()
            one._connecting.cancel()
            with suppress(asyncio.CancelledError, OSError):
                await one._connecting
        await asyncio.sleep(0)
