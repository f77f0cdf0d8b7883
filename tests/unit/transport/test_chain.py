"""TLS on a device's side, below the transport: chains, contexts and what failures mean."""

import ssl
from pathlib import Path
from typing import cast

import pytest

from broker.tls import server_context
from client_sdk.transport.chain import presented_chain
from client_sdk.transport.errors import BrokerNotTrustedError
from client_sdk.transport.mqtt import _upgrade_headers
from client_sdk.transport.tls import (
    CaPin,
    PassingMemory,
    pinned_certificate,
    pinned_context,
    refusal,
)
from client_sdk.transport.urls import BrokerAddress, Scheme, parse_broker_url
from tests.brokers.recorder import recording
from tests.unit.broker.certificates import made

ADDRESS = BrokerAddress("chat.example", 8883, Scheme.MQTTS)


def test_the_pinned_certificate_is_found_in_what_a_server_shows(tmp_path: Path) -> None:
    files = made(tmp_path)
    pin = CaPin(files.fingerprint, PassingMemory())
    with recording(server_context(files.certificate, files.key)) as recorder:
        address = parse_broker_url(f"mqtts://localhost:{recorder.port}")
        found = pinned_certificate(address, pin)
        assert found == ssl.PEM_cert_to_DER_cert(files.ca.read_text())
    assert recorder.received == b""


def test_the_public_name_of_newer_pythons_is_used_where_it_is_there() -> None:
    class Newer:
        def get_unverified_chain(self) -> list[bytes]:
            return [b"server", b"ca"]

    assert presented_chain(cast("ssl.SSLSocket", Newer())) == [b"server", b"ca"]


@pytest.mark.parametrize("certificate", [b"", b"garbage"])
def test_what_is_no_certificate_is_never_trusted(certificate: bytes) -> None:
    with pytest.raises(BrokerNotTrustedError):
        pinned_context(certificate)


def test_a_pinned_context_trusts_one_ca_alone(tmp_path: Path) -> None:
    context = pinned_context(ssl.PEM_cert_to_DER_cert(made(tmp_path).ca.read_text()))
    assert context.cert_store_stats()["x509"] == 1
    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_connection_that_broke_off_is_no_refusal() -> None:
    assert refusal(ssl.SSLEOFError(8, "EOF occurred"), ADDRESS) is None


def test_a_failure_of_another_kind_names_its_reason() -> None:
    other = refusal(ssl.SSLError(1, "strange"), ADDRESS)
    assert other is not None
    assert other.code == "broker_not_trusted"
    strange = ssl.SSLCertVerificationError(1, "strange")
    strange.verify_code, strange.verify_message = 79, "invalid CA certificate"
    assert "invalid CA certificate" in str(refusal(strange, ADDRESS))


@pytest.mark.parametrize(
    ("url", "host"), [("wss://a", "a:443"), ("ws://[::1]:8080/mqtt", "[::1]:8080")]
)
def test_an_upgrade_names_the_host_and_no_origin(url: str, host: str) -> None:
    headers = {"Host": "x", "Origin": "https://x", "Upgrade": "websocket"}
    expected = {"Host": host, "Upgrade": "websocket"}
    assert _upgrade_headers(headers, parse_broker_url(url)) == expected
