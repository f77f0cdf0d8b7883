"""One socket: bytes in and out, before its login and after. What packets mean is decided above."""

import asyncio
import socket
from typing import Final, Protocol, cast

from broker.frames import Frame, FrameBuffer
from client_sdk.wire.errors import ProtocolError

HIGH_WATER_BYTES: Final = 256 * 1024
"""Bytes that the system has not taken yet; past it the client counts as slow."""

CLOSE_SECONDS: Final = 2.0
"""Time for the last bytes to reach a client that is being let go."""


class LinkOwner(Protocol):
    """Who takes what a link reads."""

    def opened(self, link: "Link") -> None:
        """Note a new socket; it may be refused by ``drop``."""
        ...

    def first(self, link: "Link", frame: Frame) -> None:
        """Begin the login that the first packet asks for; the link keeps what follows."""
        ...

    def lost(self, link: "Link") -> None:
        """Note that the socket is gone."""
        ...


class LinkUser(Protocol):
    """Who speaks through a link after the login."""

    def take(self, frame: Frame) -> None:
        """Do what one packet asks for; raises ProtocolError where it breaks a rule."""
        ...

    def progress(self) -> None:
        """Send more: the socket takes bytes again."""
        ...


class Link(asyncio.Protocol):
    """The bytes of one socket; writes made in one turn of the event loop go out together."""

    def __init__(self, owner: LinkOwner, max_packet_bytes: int) -> None:
        """Wait for ``connection_made``."""
        self.closed = False
        self.is_congested = False
        self.reason = "the client went"
        self.opened_at = 0.0
        self.last_seen = 0.0
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._frames = FrameBuffer(max_packet_bytes)
        self._transport: asyncio.Transport | None = None
        self._user: LinkUser | None = None
        self._logging_in = False
        self._early: list[Frame] = []
        self._out: list[bytes] = []
        self._paused: set[str] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        peer: socket.socket | None = transport.get_extra_info("socket")
        if peer is not None and peer.family in (socket.AF_INET, socket.AF_INET6):
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.opened_at = self.last_seen = self._loop.time()
        self._owner.opened(self)

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        if self.closed:
            return
        self.last_seen = self._loop.time()
        try:
            for frame in self._frames.feed(data):
                self._take(frame)
        except ProtocolError as error:
            self.drop(error.code)

    def eof_received(self) -> None:
        """See ``asyncio.Protocol``; the transport closes."""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """See ``asyncio.Protocol``."""
        self.closed = True
        self._owner.lost(self)

    def pause_writing(self) -> None:
        """See ``asyncio.Protocol``."""
        self.is_congested = True

    def resume_writing(self) -> None:
        """See ``asyncio.Protocol``."""
        self.is_congested = False
        if self._user is not None and not self.closed:
            self._user.progress()

    @property
    def host(self) -> str:
        """The client's address without its port, empty where it is not known."""
        peer = self._transport.get_extra_info("peername") if self._transport is not None else None
        return str(peer[0]) if isinstance(peer, tuple) and peer else ""

    @property
    def ssl_object(self) -> object:
        """What the TLS layer knows of the client, None without TLS."""
        return self._transport.get_extra_info("ssl_object") if self._transport else None

    @property
    def unsent_bytes(self) -> int:
        """Bytes that the system has not taken yet."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def send(self, data: bytes) -> None:
        """Write at the end of this turn of the event loop; nothing where the socket is closed."""
        if not self._out:
            self._loop.call_soon(self.flush)
        self._out.append(data)

    def flush(self) -> None:
        """Write what was sent in this turn."""
        data, self._out = self._out, []
        if data and not self.closed and self._transport is not None:
            self._transport.write(data[0] if len(data) == 1 else b"".join(data))

    def logged_in(self, user: LinkUser) -> None:
        """Hand packets to ``user`` from now on, first those that came during the login."""
        self._user, early, self._early = user, self._early, []
        self.resume("login")
        try:
            for frame in early:
                self._take(frame)
        except ProtocolError as error:
            self.drop(error.code)

    def pause(self, reason: str) -> None:
        """Read no more until every reason to wait is gone."""
        if not self._paused and not self.closed and self._transport is not None:
            self._transport.pause_reading()
        self._paused.add(reason)

    def resume(self, reason: str) -> None:
        """Take one reason away."""
        if reason in self._paused:
            self._paused.discard(reason)
            if not self._paused and not self.closed and self._transport is not None:
                self._transport.resume_reading()

    def finish(self, reason: str) -> None:
        """Close when what was sent is written; nothing more is read."""
        if not self.closed:
            self.flush()
            self.closed, self.reason = True, reason
            if self._transport is not None:
                self._transport.close()
                self._loop.call_later(CLOSE_SECONDS, self._transport.abort)

    def drop(self, reason: str) -> None:
        """Cut the socket now; nothing more is read, handled or sent."""
        if not self.closed:
            self.closed, self.reason = True, reason
            if self._transport is not None:
                self._transport.abort()

    def _take(self, frame: Frame) -> None:
        if self.closed:
            return
        if self._user is not None:
            self._user.take(frame)
        elif self._logging_in:
            self._early.append(frame)
        else:
            self._logging_in = True
            self.pause("login")
            self._owner.first(self, frame)
