"""WebSocket on the broker's side: what frames become, and how a connection ends."""

import asyncio
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Opcode

from broker import websocket_transport
from broker.websocket import MAX_MESSAGE_BYTES, WebSocketProtocol
from broker.websocket_transport import MAX_FRAME_BYTES
from client_sdk.wire.limits import MAX_PACKET_BYTES
from tests.unit.broker.websocket_server import MQTT, Inner, frame, listening, raw_socket, request

MORE_THAN_SOCKETS_HOLD = 48 * 1024 * 1024
NORMAL, UNSUPPORTED, PROTOCOL_ERROR, TOO_BIG = 1000, 1003, 1002, 1009


async def test_bytes_go_both_ways() -> None:
    async with listening(echo=True) as listener:
        async with connect(listener.url, subprotocols=MQTT) as client:
            assert client.subprotocol == "mqtt"
            assert client.protocol.extensions == []
            await client.send(b"\x10\x00")
            assert await client.recv() == b"\x10\x00"
        await listener.inners[0].until("lost")


async def test_the_largest_packet_goes_both_ways() -> None:
    packet = bytes(range(256)) * (MAX_PACKET_BYTES // 256)
    async with listening(echo=True) as listener, connect(listener.url, subprotocols=MQTT) as client:
        await client.send(packet)
        back = b""
        while len(back) < len(packet):
            part = await client.recv()
            assert isinstance(part, bytes)
            back += part
        assert back == packet


async def test_a_text_frame_ends_the_connection_after_what_came_before_it() -> None:
    async with listening() as listener, raw_socket(listener) as raw:
        raw.writer.write(frame(b"one") + frame(b"two", Opcode.TEXT) + frame(b"three"))
        opcode, content = await raw.frame()
        assert (opcode, int.from_bytes(content[:2])) == (Opcode.CLOSE, UNSUPPORTED)
        assert listener.inners[0].received == b"one"


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(b"a", Opcode.CONT), PROTOCOL_ERROR),
        (frame(b"a", fin=False) + frame(b"b"), PROTOCOL_ERROR),
        (b"\x82\x01a", PROTOCOL_ERROR),  # not masked
        (b"\xc2\x80" + bytes(4), PROTOCOL_ERROR),  # a bit of an extension
        (b"\x83\x80" + bytes(4), PROTOCOL_ERROR),  # no such opcode
    ],
    ids=["continues nothing", "not continued", "not masked", "extension", "opcode"],
)
async def test_frames_against_the_rules_end_the_connection(sent: bytes, code: int) -> None:
    async with listening() as listener, raw_socket(listener) as raw:
        raw.writer.write(sent)
        opcode, content = await raw.frame()
        assert (opcode, int.from_bytes(content[:2])) == (Opcode.CLOSE, code)
        await raw.rest()
        await listener.inners[0].until("lost")


@pytest.mark.parametrize("fragments", [1, 2])
async def test_a_message_has_a_bound(fragments: int) -> None:
    async with listening() as listener:
        async with connect(listener.url, subprotocols=MQTT) as client:
            await client.send([bytes(MAX_MESSAGE_BYTES // fragments)] * fragments)
            await listener.inners[0].until_received(MAX_MESSAGE_BYTES)
        async with raw_socket(listener) as raw:
            size = MAX_MESSAGE_BYTES + 1
            if fragments == 2:
                raw.writer.write(frame(b"a", fin=False))
                size -= 1
            opcode = Opcode.BINARY if fragments == 1 else Opcode.CONT
            raw.writer.write(frame(bytes(size), opcode)[:14])  # its head says it all
            kind, content = await raw.frame()
            assert (kind, int.from_bytes(content[:2])) == (Opcode.CLOSE, TOO_BIG)


async def test_pings_are_answered_and_never_reach_the_inner_protocol() -> None:
    async with listening() as listener, raw_socket(listener) as raw:
        raw.writer.write(frame(b"a", fin=False) + frame(b"echo", Opcode.PING))
        assert await raw.frame() == (Opcode.PONG, b"echo")
        raw.writer.write(frame(b"b", Opcode.CONT) + frame(b"", Opcode.PONG))
        assert await listener.inners[0].until_received(2) == b"ab"


@pytest.mark.parametrize(("unread", "answered"), [(0, True), (MORE_THAN_SOCKETS_HOLD, False)])
async def test_pings_of_a_client_that_does_not_read_do_not_pile_up(
    unread: int, answered: bool
) -> None:
    async with listening() as listener, raw_socket(listener) as raw:
        inner = listener.inners[0]
        inner.transport.write(bytes(unread))
        raw.writer.write(frame(b"ping", Opcode.PING) * 1000 + frame(b"end"))
        await inner.until_received(3)
        inner.transport.close()
        answers = 0
        while (came := await raw.frame())[0] != Opcode.CLOSE:
            answers += came == (Opcode.PONG, b"ping")
        assert answers == (1000 if answered else 0)


@pytest.mark.parametrize("content", [b"", (1000).to_bytes(2), (4000).to_bytes(2) + b"bye"])
async def test_the_close_of_a_client_is_answered_with_its_own_words(content: bytes) -> None:
    async with listening() as listener, raw_socket(listener) as raw:
        raw.writer.write(frame(b"last") + frame(content, Opcode.CLOSE))
        assert await raw.frame() == (Opcode.CLOSE, content)
        assert await raw.rest() == b""
        inner = listener.inners[0]
        await inner.until("lost")
        assert inner.received == b"last"


async def test_an_inner_protocol_that_writes_after_the_clients_close_is_not_heard() -> None:
    async with listening(echo=True) as listener, raw_socket(listener) as raw:
        raw.writer.write(frame(b"last") + frame(b"", Opcode.CLOSE))
        assert await raw.frame() == (Opcode.CLOSE, b"")


async def test_closing_sends_what_was_written_and_waits_for_the_answer() -> None:
    async with listening() as listener, connect(listener.url, subprotocols=MQTT) as client:
        inner = listener.inners[0]
        inner.transport.writelines([b"fare", b"well"])
        inner.transport.close()
        inner.transport.close()
        inner.transport.write(b"too late")
        assert inner.transport.is_closing()
        assert not inner.transport.is_reading()
        assert await client.recv() == b"farewell"
        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == NORMAL
        await inner.until("lost")


async def test_a_client_that_does_not_answer_the_close_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(websocket_transport, "CLOSE_SECONDS", 0.05)
    async with listening() as listener, raw_socket(listener) as raw:
        inner = listener.inners[0]
        inner.transport.pause_reading()
        inner.transport.write(bytes(MORE_THAN_SOCKETS_HOLD))
        inner.transport.close()
        await inner.until("lost")
        assert raw.writer.transport.get_extra_info("socket") is not None


async def test_a_client_that_closes_and_does_not_read_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(websocket_transport, "CLOSE_SECONDS", 0.05)
    async with listening() as listener, raw_socket(listener) as raw:
        inner = listener.inners[0]
        inner.transport.write(bytes(MORE_THAN_SOCKETS_HOLD))
        raw.writer.write(frame(b"", Opcode.CLOSE))
        await inner.until("lost")


async def test_a_socket_that_ends_without_a_close_frame_is_told_apart() -> None:
    async with listening() as listener, raw_socket(listener) as raw:
        raw.writer.write_eof()
        inner = listener.inners[0]
        await inner.until("lost")
        assert inner.calls == ["made", "eof", "lost"]


async def test_a_slow_client_pauses_the_inner_protocol_and_resumes_it() -> None:
    async with listening() as listener, raw_socket(listener) as raw:
        inner = listener.inners[0]
        inner.transport.set_write_buffer_limits(high=1000, low=10)
        assert inner.transport.get_write_buffer_limits() == (10, 1000)
        size = MORE_THAN_SOCKETS_HOLD
        inner.transport.write(bytes(size))
        await inner.until("pause")
        assert inner.transport.get_write_buffer_size() > 1000
        for _ in range(size // MAX_FRAME_BYTES):
            assert await raw.frame() == (Opcode.BINARY, bytes(MAX_FRAME_BYTES))
        await inner.until("resume")


@pytest.mark.parametrize(("more", "frames"), [(0, 1), (1, 2)])
async def test_a_frame_that_is_sent_has_a_bound(more: int, frames: int) -> None:
    async with listening() as listener, raw_socket(listener) as raw:
        listener.inners[0].transport.write(bytes(MAX_FRAME_BYTES + more))
        sizes = [len((await raw.frame())[1]) for _ in range(frames)]
        assert sizes == [MAX_FRAME_BYTES, 1][:frames]


async def test_a_paused_inner_protocol_gets_nothing_until_it_resumes() -> None:
    class OneAtATime(Inner):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.pause_reading()

    made: list[OneAtATime] = []

    def factory() -> OneAtATime:
        made.append(OneAtATime())
        return made[0]

    server_end, client_end = socket.socketpair()
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(
        lambda: WebSocketProtocol(factory), sock=server_end
    )
    client_end.setblocking(False)
    inner = made[0]
    await loop.sock_sendall(client_end, request())
    await loop.sock_recv(client_end, 4096)
    inner.transport.pause_reading()
    protocol.data_received(frame(b"one") + frame(b"two"))  # was on the way when it paused
    assert inner.received == b""
    assert not inner.transport.is_reading()
    inner.transport.resume_reading()
    inner.transport.resume_reading()
    assert await inner.until_received(6) == b"onetwo"
    assert not transport.is_reading()
    inner.transport.resume_reading()
    await loop.sock_sendall(client_end, frame(b"three"))
    assert await inner.until_received(11) == b"onetwothree"
    inner.transport.abort()
    await inner.until("lost")
    client_end.close()


@st.composite
def split_streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A byte stream, and frames of any sizes and fragments cut into reads of any sizes."""
    stream = draw(st.binary(min_size=1, max_size=400))
    frames, rest = b"", stream
    while rest:
        piece, rest = _cut(draw, rest)
        opcode = Opcode.BINARY
        while piece and draw(st.booleans()):
            part, piece = _cut(draw, piece)
            frames += frame(part, opcode, fin=False)
            opcode = Opcode.CONT
            if draw(st.booleans()):
                frames += frame(b"between", Opcode.PING)
        frames += frame(piece, opcode)
    reads, rest = [], frames
    while rest:
        one, rest = _cut(draw, rest)
        reads.append(one)
    return stream, reads


def _cut(draw: st.DrawFn, data: bytes) -> tuple[bytes, bytes]:
    at = draw(st.integers(1, len(data)))
    return data[:at], data[at:]


@settings(deadline=None)
@given(split_streams(), st.booleans())
async def test_any_split_of_the_stream_arrives_equal(
    split: tuple[bytes, list[bytes]], pausing: bool
) -> None:
    stream, reads = split
    server_end, client_end = socket.socketpair()
    inner = Inner()
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_connection(
        lambda: WebSocketProtocol(lambda: inner), sock=server_end
    )
    protocol.data_received(request())
    for one in reads:
        if pausing:
            inner.transport.pause_reading()
        protocol.data_received(one)
        inner.transport.resume_reading()
        await asyncio.sleep(0)
    assert await inner.until_received(len(stream)) == stream
    inner.transport.abort()
    await inner.until("lost")
    client_end.close()


async def test_fragments_of_one_byte_and_an_empty_frame_are_a_stream() -> None:
    stream = bytes(range(256)) * 4
    async with listening() as listener, raw_socket(listener) as raw:
        raw.writer.write(frame(b""))
        for at, one in enumerate(stream):
            first, last = at == 0, at == len(stream) - 1
            opcode = Opcode.BINARY if first else Opcode.CONT
            raw.writer.write(frame(bytes([one]), opcode, fin=last))
        assert await listener.inners[0].until_received(len(stream)) == stream
