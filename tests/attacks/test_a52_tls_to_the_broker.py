"""A52: who stands between a device and its broker gets a handshake, and not a byte of MQTT."""

import asyncio
import ssl
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from broker.certs import Certificates
from client_sdk.transport.errors import (
    BrokerNotTrustedError,
    CertificateExpiredError,
    TlsTooOldError,
    TransportError,
    UnencryptedBrokerError,
    WrongCaError,
    WrongHostError,
)
from client_sdk.transport.mqtt import Login, MqttTransport
from client_sdk.transport.tls import CaPin, PassingMemory
from tests.brokers.recorder import Recorder, only_tls_1_1, recording
from tests.unit.broker.certificates import expired, made

LOGIN = Login("alice-1", "planted secret")
SCHEMES = ["mqtts", "wss"]
FIRST_BYTES = {"mqtts": b"\x10", "wss": b"GET /mqtt HTTP/1.1\r\n"}


def context_of(files: Certificates) -> ssl.SSLContext:
    """The TLS of a server that does not look at its own files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    return context


def pin_of(files: Certificates) -> CaPin:
    return CaPin(files.fingerprint, PassingMemory())


async def remembered(files: Certificates) -> CaPin:
    """The pin of a device that has connected before."""
    pin = pin_of(files)
    await pin.memory.keep_pinned_ca(ssl.PEM_cert_to_DER_cert(files.ca.read_text()))
    return pin


def listening(files: Certificates) -> AbstractContextManager[Recorder]:
    return recording(context_of(files))


async def refused(
    recorder: Recorder, scheme: str, pin: CaPin | None, host: str = "localhost"
) -> TransportError:
    """Connect, and return why that failed; nothing may have been sent."""
    transport = MqttTransport([f"{scheme}://{host}:{recorder.port}"], LOGIN, pin)
    with pytest.raises(TransportError) as failed:
        async with transport.connect():
            pytest.fail("it connected")
    assert bytes(recorder.received) == b""
    if isinstance(failed.value, BrokerNotTrustedError):
        assert "nothing was sent" in str(failed.value)
    return failed.value


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_recorder_hears_a_device_that_trusts_it(tmp_path: Path, scheme: str) -> None:
    files = made(tmp_path)
    with listening(files) as recorder:
        transport = MqttTransport([f"{scheme}://localhost:{recorder.port}"], LOGIN, pin_of(files))
        with pytest.raises(TransportError) as ended:
            async with transport.connect():
                pytest.fail("it lets nobody in")
        assert not isinstance(ended.value, BrokerNotTrustedError)
        assert recorder.received.startswith(FIRST_BYTES[scheme])


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a52_a_server_of_another_ca_is_sent_nothing(tmp_path: Path, scheme: str) -> None:
    files, others = made(tmp_path / "ours"), made(tmp_path / "others")
    with listening(others) as recorder:
        for pin in (pin_of(files), await remembered(files)):
            assert type(await refused(recorder, scheme, pin)) is WrongCaError


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a52_a_pin_is_not_given_up_for_the_systems_authorities(
    tmp_path: Path, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, public = made(tmp_path / "ours"), made(tmp_path / "public")
    monkeypatch.setenv("SSL_CERT_FILE", str(public.ca))
    with listening(public) as recorder:
        for pin in (pin_of(files), await remembered(files)):
            assert type(await refused(recorder, scheme, pin)) is WrongCaError


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a52_a_pinned_ca_shown_beside_a_foreign_certificate_helps_nobody(
    tmp_path: Path, scheme: str
) -> None:
    files, others = made(tmp_path / "ours"), made(tmp_path / "others")
    chain = others.certificate.read_bytes() + files.ca.read_bytes()
    others.certificate.write_bytes(chain)
    with listening(others) as recorder:
        for pin in (pin_of(files), await remembered(files)):
            assert type(await refused(recorder, scheme, pin)) is WrongCaError


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a52_without_a_pin_a_private_ca_is_not_trusted(tmp_path: Path, scheme: str) -> None:
    with listening(made(tmp_path)) as recorder:
        assert type(await refused(recorder, scheme, None)) is WrongCaError


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a52_an_expired_certificate_is_refused(tmp_path: Path, scheme: str) -> None:
    files = expired(tmp_path)
    with listening(files) as recorder:
        for pin in (pin_of(files), await remembered(files)):
            assert type(await refused(recorder, scheme, pin)) is CertificateExpiredError


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a52_a_certificate_for_other_hosts_is_refused(
    tmp_path: Path, scheme: str, host: str
) -> None:
    files = made(tmp_path, ("elsewhere.example", "127.0.0.2"))
    with listening(files) as recorder:
        for pin in (pin_of(files), await remembered(files)):
            assert type(await refused(recorder, scheme, pin, host)) is WrongHostError


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a52_a_server_of_tls_1_1_is_refused(tmp_path: Path, scheme: str) -> None:
    files = made(tmp_path)
    with recording(only_tls_1_1(files.certificate, files.key)) as recorder:
        for pin in (pin_of(files), await remembered(files), None):
            assert type(await refused(recorder, scheme, pin)) is TlsTooOldError


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a52_the_trusted_address_after_an_untrusted_one_is_used(
    tmp_path: Path, scheme: str
) -> None:
    files, others = made(tmp_path / "ours"), made(tmp_path / "others")
    with listening(others) as wrong, listening(files) as right:
        urls = [f"{scheme}://localhost:{one.port}" for one in (wrong, right)]
        transport = MqttTransport(urls, LOGIN, pin_of(files))
        with pytest.raises(TransportError):
            async with transport.connect():
                pytest.fail("neither lets anybody in")
        assert wrong.received == b""
        assert right.received.startswith(FIRST_BYTES[scheme])


@pytest.mark.parametrize("url", ["mqtt://10.0.0.1", "ws://chat.example"])
async def test_a52_a_pinned_device_is_not_led_to_an_unencrypted_address(
    tmp_path: Path, url: str
) -> None:
    with pytest.raises(UnencryptedBrokerError):
        MqttTransport([url], LOGIN, pin_of(made(tmp_path)))


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_server_without_tls_is_told_from_one_that_is_away(
    tmp_path: Path, scheme: str
) -> None:
    files = made(tmp_path)
    answering = await asyncio.start_server(_say_http, "127.0.0.1", 0)
    port = answering.sockets[0].getsockname()[1]
    for pin in (pin_of(files), await remembered(files)):
        with pytest.raises(BrokerNotTrustedError, match="does not speak TLS"):
            async with MqttTransport([f"{scheme}://localhost:{port}"], LOGIN, pin).connect():
                pytest.fail("it connected")
    answering.close()


async def _say_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    writer.close()
