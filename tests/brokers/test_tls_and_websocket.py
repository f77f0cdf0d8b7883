"""A device's transport over every scheme, to the embedded broker behind TLS and WebSocket."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from broker.certs import Certificates
from broker.embedded import EmbeddedBroker
from broker.tls import server_context
from client_sdk.transport.errors import BrokerUnreachableError, LoginRefusedError, WrongCaError
from client_sdk.transport.mqtt import Login, MqttTransport
from client_sdk.transport.tls import CaPin, PassingMemory
from client_sdk.transport.urls import Scheme
from client_sdk.wire.ids import DeviceAddress
from client_sdk.wire.limits import KIB
from client_sdk.wire.topics import inbox_filter
from tests.brokers.fronts import front
from tests.brokers.names import ALICE, BOB, SECRETS, mail_topic
from tests.conftest import RequireProgram
from tests.unit.broker.certificates import made

PATIENCE_SECONDS = 20.0
ENCRYPTED = (Scheme.MQTTS, Scheme.WSS)


@pytest.fixture
def files(tmp_path: Path) -> Certificates:
    return made(tmp_path / "server")


@asynccontextmanager
async def reachable(
    broker: EmbeddedBroker, scheme: Scheme, files: Certificates
) -> AsyncIterator[str]:
    """Yield the broker's address of one scheme."""
    encrypted = scheme in ENCRYPTED
    context = server_context(files.certificate, files.key) if encrypted else None
    websocket = scheme in {Scheme.WS, Scheme.WSS}
    async with front(broker.port, context, websocket=websocket) as port:
        yield f"{scheme}://localhost:{port}"


def transport(url: str, login: str, pin: CaPin | None) -> MqttTransport:
    return MqttTransport([url], Login(login, SECRETS[login]), pin)


def pin_of(files: Certificates) -> CaPin:
    return CaPin(files.fingerprint, PassingMemory())


@pytest.mark.parametrize("scheme", Scheme)
async def test_messages_of_every_size_go_both_ways_over_every_scheme(
    broker: EmbeddedBroker, files: Certificates, scheme: Scheme
) -> None:
    sent = [bytes([number]) * size for number, size in enumerate((1, 300, 20 * KIB, 96 * KIB) * 5)]
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(reachable(broker, scheme, files))
        pin = pin_of(files) if scheme in ENCRYPTED else None
        bob = await stack.enter_async_context(transport(url, BOB, pin).connect())
        alice = await stack.enter_async_context(transport(url, ALICE, pin).connect())
        await bob.subscribe(inbox_filter(DeviceAddress(BOB)))
        received: list[bytes] = []
        async with asyncio.timeout(PATIENCE_SECONDS):
            for number, payload in enumerate(sent):
                await alice.publish(mail_topic(number), payload, retain=True)
            async for message in bob.incoming():
                received.append(message.payload)
                if len(received) == len(sent):
                    break
        assert received == sent


@pytest.mark.parametrize("scheme", Scheme)
async def test_a_refused_login_is_told_over_every_scheme(
    broker: EmbeddedBroker, files: Certificates, scheme: Scheme
) -> None:
    async with reachable(broker, scheme, files) as url:
        pin = pin_of(files) if scheme in ENCRYPTED else None
        with pytest.raises(LoginRefusedError):
            async with MqttTransport([url], Login(ALICE, "wrong"), pin).connect():
                pytest.fail("a wrong password was taken")


async def test_addresses_of_different_schemes_are_tried_in_turn(
    broker: EmbeddedBroker, files: Certificates
) -> None:
    async with (
        front(broker.port, websocket=True) as taken,
        reachable(broker, Scheme.WSS, files) as last,
    ):
        pass  # both ports are free again
    async with reachable(broker, Scheme.WSS, files) as url:
        encrypted = [f"mqtts://localhost:{taken}", last, url]
        plain = [f"ws://127.0.0.1:{taken}/mqtt", f"mqtt://127.0.0.1:{broker.port}"]
        login = Login(ALICE, SECRETS[ALICE])
        for urls, pin in ((encrypted, pin_of(files)), (plain, None)):
            async with MqttTransport(urls, login, pin).connect() as connection:
                await connection.subscribe(inbox_filter(DeviceAddress(ALICE)))


async def test_a_path_that_is_no_brokers_is_told_as_a_broker_that_is_away(
    broker: EmbeddedBroker, files: Certificates
) -> None:
    async with reachable(broker, Scheme.WSS, files) as url:
        with pytest.raises(BrokerUnreachableError):
            async with transport(f"{url}/other", ALICE, pin_of(files)).connect():
                pytest.fail("there is no broker")


async def test_a_device_is_no_page_and_connects_where_pages_are_restricted(
    broker: EmbeddedBroker,
) -> None:
    async with (
        front(broker.port, websocket=True, origins=["https://chat.example"]) as port,
        transport(f"ws://127.0.0.1:{port}", ALICE, None).connect(),
    ):
        pass


@pytest.mark.parametrize("scheme", ENCRYPTED)
async def test_a_certificate_that_was_renewed_under_the_pinned_ca_is_taken(
    broker: EmbeddedBroker, tmp_path: Path, scheme: Scheme
) -> None:
    pin = pin_of(made(tmp_path))
    asked: list[bytes | None] = []
    for _ in range(2):
        async with reachable(broker, scheme, made(tmp_path)) as url:
            asked.append(await pin.memory.pinned_ca())
            async with transport(url, ALICE, pin).connect():
                pass
    assert asked[0] is None
    assert asked[1] == ssl.PEM_cert_to_DER_cert((tmp_path / "tls" / "ca.pem").read_text())


async def test_a_remembered_ca_is_enough_for_a_server_that_does_not_show_it(
    broker: EmbeddedBroker, files: Certificates
) -> None:
    pin = pin_of(files)
    await pin.memory.keep_pinned_ca(ssl.PEM_cert_to_DER_cert(files.ca.read_text()))
    first, mark, _ = files.certificate.read_bytes().partition(b"-----END CERTIFICATE-----\n")
    files.certificate.write_bytes(first + mark)
    async with reachable(broker, Scheme.MQTTS, files) as url:
        async with transport(url, ALICE, pin).connect():
            pass
        with pytest.raises(WrongCaError):
            async with transport(url, ALICE, pin_of(files)).connect():
                pytest.fail("nothing was shown that could be pinned")


@pytest.mark.parametrize("kept", [b"", b"garbage", None])
async def test_what_is_remembered_counts_only_by_its_fingerprint(
    broker: EmbeddedBroker, files: Certificates, tmp_path: Path, kept: bytes | None
) -> None:
    pin = pin_of(files)
    other = ssl.PEM_cert_to_DER_cert(made(tmp_path / "other").ca.read_text())
    await pin.memory.keep_pinned_ca(other if kept is None else kept)
    async with (
        reachable(broker, Scheme.MQTTS, files) as url,
        transport(url, ALICE, pin).connect(),
    ):
        known = await pin.memory.pinned_ca()
        assert known is not None
        assert pin.names(known)


@pytest.mark.parametrize("scheme", ENCRYPTED)
async def test_without_a_pin_the_systems_authorities_are_trusted(
    broker: EmbeddedBroker, files: Certificates, scheme: Scheme, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(files.ca))
    async with reachable(broker, scheme, files) as url, transport(url, ALICE, None).connect():
        pass


@pytest.mark.parametrize("scheme", ENCRYPTED)
async def test_the_event_loop_goes_on_while_a_server_does_not_finish_its_handshake(
    scheme: Scheme, files: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        silent.set()
        await reader.read()
        writer.close()

    monkeypatch.setattr("client_sdk.transport.tls.LOOK_SECONDS", 0.5)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def connect() -> None:
        async with transport(f"{scheme}://127.0.0.1:{port}", ALICE, pin_of(files)).connect():
            pytest.fail("it did not answer")

    connecting = asyncio.create_task(connect())
    async with asyncio.timeout(PATIENCE_SECONDS):
        await silent.wait()  # served by this very loop
    with pytest.raises(BrokerUnreachableError):
        await connecting
    server.close()


async def test_mosquitto_sub_trusts_the_ca_file_and_nothing_else(
    broker: EmbeddedBroker, files: Certificates, tmp_path: Path, require_program: RequireProgram
) -> None:
    program = require_program("mosquitto_sub")
    other = made(tmp_path / "other")
    async with reachable(broker, Scheme.MQTTS, files) as url:
        async with transport(url, ALICE, pin_of(files)).connect() as alice:
            await alice.publish(mail_topic(1), b"sealed", retain=True)
        port = url.rpartition(":")[2]
        options = ["-h", "localhost", "-p", port, "-V", "mqttv311", "-i", BOB, "-u", BOB]
        wanted = ["-P", SECRETS[BOB], "-t", inbox_filter(DeviceAddress(BOB)), "-C", "1", "-W", "5"]
        outputs = []
        for authority in (files.ca, other.ca):
            process = await asyncio.create_subprocess_exec(
                *(program, *options, *wanted, "--cafile", str(authority)),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            async with asyncio.timeout(PATIENCE_SECONDS):
                printed, _ = await process.communicate()
            outputs.append(printed)
        assert outputs == [b"sealed\n", b""]
