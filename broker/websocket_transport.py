"""What the engine writes to where a socket speaks WebSocket: bytes in, binary frames out."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from client_sdk.wire.limits import KIB

CLOSE_SECONDS: Final = 2.0
"""How long a client may take to read the rest and answer a close frame before it is cut off."""

MAX_UNSENT_FOR_PONG_BYTES: Final = 64 * KIB
"""A client that leaves this much unread gets no answer to its pings: they would pile up."""

MAX_FRAME_BYTES: Final = 64 * KIB
"""Of one frame that is sent: clients bound a message, and a replay of mail may be many MiB."""

_DATA: Final = frozenset({Opcode.BINARY, Opcode.CONT})


class WebSocketTransport(asyncio.Transport):
    """What the inner protocol writes to: each write is one or more binary frames."""

    def __init__(
        self, transport: asyncio.Transport, frames: ServerProtocol, inner: asyncio.Protocol
    ) -> None:
        """Take over a socket's transport; ``WebSocketProtocol`` does."""
        super().__init__()
        self._transport = transport
        self._frames = frames
        self._inner = inner
        self._received: list[bytes] = []
        self._paused = False
        self._ending: asyncio.TimerHandle | None = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - asyncio's
        """Return what the socket's transport knows: ``peername``, ``ssl_object`` and the like."""
        return self._transport.get_extra_info(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send binary frames; before the upgrade and after the end nothing."""
        if data and self._frames.state is State.OPEN and not self.is_closing():
            whole = bytes(data)
            for at in range(0, len(whole), MAX_FRAME_BYTES):
                self._frames.send_binary(whole[at : at + MAX_FRAME_BYTES])
            self.flush()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Send some pieces as if they were one."""
        self.write(b"".join(list_of_data))

    def is_closing(self) -> bool:
        """Tell whether nothing more is sent or received."""
        return self._ending is not None or self._transport.is_closing()

    def close(self) -> None:
        """Send what was written and a close frame; the socket ends with the client's answer.

        A client that has not read and answered it after ``CLOSE_SECONDS`` is cut off.
        """
        self._close(CloseCode.NORMAL_CLOSURE)

    def abort(self) -> None:
        """Cut the connection; what was not sent is lost."""
        self._transport.abort()

    def get_write_buffer_size(self) -> int:
        """Return the bytes that wait for the socket, frame heads included."""
        return self._transport.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the marks at which writing is resumed and paused."""
        return self._transport.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the marks at which writing is paused and resumed."""
        self._transport.set_write_buffer_limits(high, low)

    def pause_reading(self) -> None:
        """Hand over nothing more until ``resume_reading``."""
        if not self.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Hand over what came meanwhile, in the next turn of the loop, and read on."""
        if self._paused:
            self._paused = False
            asyncio.get_running_loop().call_soon(self._go_on)

    def is_reading(self) -> bool:
        """Tell whether received bytes are handed over."""
        return not self._paused and not self.is_closing()

    def can_write_eof(self) -> bool:
        """Return False: a WebSocket has no half-closed state."""
        return False

    def take(self, events: Iterable[object]) -> None:
        """Hand over the bytes of frames that came; answer what asks for an answer."""
        for event in events:
            if not isinstance(event, Frame) or self.is_closing():
                continue
            if event.opcode is Opcode.TEXT:
                self._hand_over()
                self._close(CloseCode.UNSUPPORTED_DATA)
            elif event.opcode in _DATA and event.data:
                self._received.append(bytes(event.data))
        self._hand_over()
        unread = self.get_write_buffer_size() > MAX_UNSENT_FOR_PONG_BYTES
        if unread and self._frames.state is State.OPEN:
            self._frames.data_to_send()  # only pongs are left in it
        self.flush()

    def flush(self) -> None:
        """Write what the frames' state machine wants sent, and end the socket where it ends."""
        data = b"".join(self._frames.data_to_send())
        if data:
            self._transport.write(data)
        if self._frames.eof_sent:
            self._transport.close()
            self._end_in_time()

    def lost(self) -> None:
        """Note that the socket is gone."""
        self._received.clear()
        if self._ending is not None:
            self._ending.cancel()

    def _hand_over(self) -> None:
        if self._received and not self._paused and not self.is_closing():
            data = b"".join(self._received)
            self._received.clear()
            self._inner.data_received(data)

    def _go_on(self) -> None:
        self._hand_over()
        if not self._paused:
            self._transport.resume_reading()

    def _close(self, code: CloseCode) -> None:
        if self.is_closing():
            return
        if self._frames.state is not State.OPEN:  # no upgrade yet, or the client has closed
            self.flush()
            self._transport.close()
            return
        self._frames.send_close(code)
        self.flush()
        self._end_in_time()
        # The client's answer is read even where the inner protocol wanted to read no more.
        self._received.clear()
        self._paused = False
        self._transport.resume_reading()

    def _end_in_time(self) -> None:
        if self._ending is None:
            self._ending = asyncio.get_running_loop().call_later(CLOSE_SECONDS, self.abort)
