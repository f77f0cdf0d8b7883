"""WebSocket on the broker's side: which upgrades are taken."""

import asyncio

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.frames import Opcode
from websockets.typing import Origin

from broker import websocket
from broker.websocket import MAX_UPGRADE_BYTES
from tests.unit.broker.websocket_server import MQTT, frame, listening, raw_socket, request


@pytest.mark.parametrize("path", ["/mqtt", "/", "/mqtt?from=page", "/?"])
async def test_mqtt_is_at_two_paths(path: str) -> None:
    async with listening() as listener, raw_socket(listener, upgraded=False) as raw:
        raw.writer.write(request(path))
        assert await raw.status() == 101


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request("/other"), 404),
        (request(without="Sec-WebSocket-Protocol"), 400),
        (request(Sec_WebSocket_Protocol="chat"), 400),
        (request(without="Sec-WebSocket-Key"), 400),
        (request(Sec_WebSocket_Key="short"), 400),
        (request(Sec_WebSocket_Version="8"), 400),
        (request(without="Upgrade"), 426),
        (request(Upgrade="h2c"), 426),
        (request(without="Connection"), 426),
        (request().replace(b"HTTP/1.1", b"HTTP/9"), 400),
        (request().replace(b"Host: ", b"Host"), 400),
        (b"POST /mqtt HTTP/1.1\r\n\r\n", 400),
        (b"\x10\x26\x00\x04MQTT", 400),
        (b"GET", 0),
        (b"", 0),
    ],
)
async def test_anything_but_an_upgrade_to_mqtt_is_refused(sent: bytes, status: int) -> None:
    async with listening() as listener, raw_socket(listener, upgraded=False) as raw:
        raw.writer.write(sent)
        if not status:
            raw.writer.write_eof()
            assert await raw.rest() == b""
        else:
            assert await raw.status() == status
            await raw.rest()
        await listener.inners[0].until("lost")
        assert listener.inners[0].received == b""


@pytest.mark.parametrize(("path", "status"), [("/mqtt", 101), ("/other", 404)])
async def test_a_request_may_come_byte_by_byte(path: str, status: int) -> None:
    async with listening() as listener, raw_socket(listener, upgraded=False) as raw:
        for one in request(path):
            raw.writer.write(bytes([one]))
            await asyncio.sleep(0)
        assert await raw.status() == status


async def test_a_request_and_frames_that_come_as_one_are_taken_apart() -> None:
    async with listening(echo=True) as listener, raw_socket(listener, upgraded=False) as raw:
        raw.writer.write(request() + frame(b"\x10\x00"))
        assert await raw.status() == 101
        assert await raw.frame() == (Opcode.BINARY, b"\x10\x00")


async def test_a_refused_request_with_a_close_frame_behind_it_is_refused() -> None:
    async with listening() as listener, raw_socket(listener, upgraded=False) as raw:
        raw.writer.write(request("/other") + frame(b"", Opcode.CLOSE) + frame(b"more"))
        assert await raw.status() == 404


@pytest.mark.parametrize(("more", "status"), [(0, 101), (1, 431)])
async def test_the_request_has_a_bound(more: int, status: int) -> None:
    lines = request(A="", B="", C="")
    room = MAX_UPGRADE_BYTES - len(lines) + more
    for name in (b"A: ", b"B: ", b"C: "):
        part = min(room, 8000)
        lines, room = lines.replace(name, name + b"a" * part), room - part
    async with listening() as listener, raw_socket(listener, upgraded=False) as raw:
        raw.writer.write(lines)
        assert await raw.status() == status


async def test_a_request_without_end_is_refused_at_the_bound() -> None:
    async with listening() as listener, raw_socket(listener, upgraded=False) as raw:
        raw.writer.write(b"GET /" + b"a" * MAX_UPGRADE_BYTES)
        assert await raw.status() == 431


async def test_pages_of_other_origins_are_refused_where_origins_are_named() -> None:
    async with listening(origins=["https://chat.example"]) as listener:
        url, page = listener.url, Origin("https://chat.example")
        async with connect(url, subprotocols=MQTT, origin=page):
            pass
        async with connect(url, subprotocols=MQTT):  # no browser
            pass
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, subprotocols=MQTT, origin=Origin("https://evil.example"))
        assert refused.value.response.status_code == 403


async def test_every_page_may_connect_where_none_is_named() -> None:
    async with (
        listening() as listener,
        connect(listener.url, subprotocols=MQTT, origin=Origin("https://any.example")),
    ):
        pass


async def test_a_socket_that_never_upgrades_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "UPGRADE_SECONDS", 0.05)
    async with listening() as listener, raw_socket(listener, upgraded=False) as raw:
        raw.writer.write(request()[:-1])
        await listener.inners[0].until("lost")


async def test_an_upgraded_socket_is_left_to_the_inner_protocols_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(websocket, "UPGRADE_SECONDS", 0.2)
    async with listening(echo=True) as listener, raw_socket(listener) as raw:
        passed = asyncio.Event()
        asyncio.get_running_loop().call_later(0.3, passed.set)
        await passed.wait()
        raw.writer.write(frame(b"still there"))
        assert await raw.frame() == (Opcode.BINARY, b"still there")


async def test_the_inner_protocol_is_connected_before_the_upgrade() -> None:
    async with listening() as listener, raw_socket(listener, upgraded=False):
        await listener.opened.wait()
        inner = listener.inners[0]
        assert inner.calls == ["made"]
        assert inner.transport.get_extra_info("peername")[0] == "127.0.0.1"
        inner.transport.write(b"too early")
        inner.transport.close()
        await inner.until("lost")
