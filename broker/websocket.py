"""MQTT over WebSocket: a byte stream for the engine out of a browser's frames.

Source: RFC 6455; MQTT 3.1.1, section 6.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final, cast

from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Origin, Subprotocol

from broker.websocket_transport import WebSocketTransport
from client_sdk.wire.limits import KIB, MAX_PACKET_BYTES

SUBPROTOCOL: Final = Subprotocol("mqtt")
PATHS: Final = frozenset({"/mqtt", "/"})

UPGRADE_SECONDS: Final = 10.0
"""From the open socket to the end of the HTTP request, as long as a login may take."""

MAX_UPGRADE_BYTES: Final = 16 * KIB
"""The HTTP request: browsers send cookies of the same host along, 4 KiB each at most."""

MAX_MESSAGE_BYTES: Final = 2 * MAX_PACKET_BYTES
"""One message of any number of frames: clients put one packet in each, some join a few."""

_END_OF_REQUEST: Final = b"\r\n\r\n"
_METHOD: Final = b"GET "

# Its levels below CRITICAL print what clients send.
_silent = logging.getLogger(f"{__name__}.frames")
_silent.setLevel(logging.CRITICAL)

ProtocolFactory = Callable[[], asyncio.Protocol]


class WebSocketProtocol(asyncio.Protocol):
    """One socket: it reads the upgrade and frames, and hands the bytes in them to another protocol.

    The inner protocol is connected at once, so that its bounds count this socket too; it gets its
    first byte after the upgrade, then a stream that knows nothing of frames.

    Example:
        await loop.create_server(lambda: WebSocketProtocol(make_engine_protocol), host, port)
    """

    def __init__(self, factory: ProtocolFactory, origins: Sequence[str] = ()) -> None:
        """Prepare; nothing happens before ``connection_made``.

        Args:
            factory: Makes the inner protocol of one connection.
            origins: Which web pages may connect, such as ``https://chat.example``; empty lets
                all. A login is typed or stored by the page itself and no cookie carries it, so
                that a foreign page gains nothing. A client that names no origin is no browser
                and may always.
        """
        self._inner = factory()
        self._frames = ServerProtocol(
            origins=[*map(Origin, origins), None] if origins else None,
            subprotocols=[SUBPROTOCOL],
            max_size=MAX_MESSAGE_BYTES,
            logger=_silent,
        )
        self._request = bytearray()
        self._upgraded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock of the upgrade, and connect the inner protocol."""
        # Not checked by isinstance: the transports of uvloop have no class of asyncio's above them.
        stream = self._transport = cast("asyncio.Transport", transport)
        self._facade = WebSocketTransport(stream, self._frames, self._inner)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(UPGRADE_SECONDS, stream.abort)
        self._inner.connection_made(self._facade)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the inner protocol."""
        self._timer.cancel()
        self._facade.lost()
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        """Tell the inner protocol that the client reads too slowly."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Tell the inner protocol that the client has read."""
        self._inner.resume_writing()

    def eof_received(self) -> None:
        """Tell the inner protocol that no more bytes come; the socket is closed."""
        if self._upgraded:
            self._frames.receive_eof()
            self._inner.eof_received()

    def data_received(self, data: bytes) -> None:
        """Take bytes from the socket: of the upgrade first, then of frames."""
        if not self._upgraded:
            data = self._upgrade(data)
        if data and self._upgraded:
            self._frames.receive_data(data)
            self._facade.take(self._frames.events_received())

    def _upgrade(self, data: bytes) -> bytes:
        """Answer the HTTP request once it is whole; return what follows it."""
        if self._facade.is_closing():
            return b""
        looked_through = max(len(self._request) - len(_END_OF_REQUEST), 0)
        self._request += data
        end = self._request.find(_END_OF_REQUEST, looked_through)
        length = len(self._request) if end < 0 else end + len(_END_OF_REQUEST)
        if length > MAX_UPGRADE_BYTES:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif not self._request.startswith(_METHOD[: len(self._request)]):
            self._refuse(HTTPStatus.BAD_REQUEST)
        elif end >= 0:
            request, rest = bytes(self._request[:length]), bytes(self._request[length:])
            self._request.clear()
            self._answer(request)
            return rest
        return b""

    def _answer(self, request: bytes) -> None:
        # Never more than the request: the library would read frames before it is accepted.
        self._frames.receive_data(request)
        for event in self._frames.events_received():
            if not isinstance(event, Request):
                continue
            path, _, _ = event.path.partition("?")
            if path in PATHS:
                response = self._frames.accept(event)
            else:
                response = self._frames.reject(HTTPStatus.NOT_FOUND, "MQTT is at /mqtt\n")
            self._frames.send_response(response)
            self._upgraded = response.status_code == HTTPStatus.SWITCHING_PROTOCOLS
            self._facade.flush()
        if self._upgraded:
            self._timer.cancel()
        elif not self._facade.is_closing():
            self._refuse(HTTPStatus.BAD_REQUEST)

    def _refuse(self, status: HTTPStatus) -> None:
        """End a connection whose request is not HTTP; the clock of the upgrade still runs."""
        lines = (f"HTTP/1.1 {status.value} {status.phrase}", "Connection: close")
        self._transport.write("\r\n".join((*lines, "Content-Length: 0", "", "")).encode())
        self._transport.close()
