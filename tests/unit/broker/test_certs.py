"""`ratchetmq certs`: a private CA, and server certificates under it."""

import json
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from broker import cli_certs
from broker.certs import CA_LIFETIME, DEFAULT_DAYS, MAX_DAYS, MAX_HOSTS, make_certificates
from broker.tls import TlsFileError, private_ca_fingerprint, read_chain, server_context
from client_sdk.wire.errors import MisuseError
from tests.unit.broker.certificates import HOSTS, made, under_an_expired_ca

PROGRAM = (sys.executable, "-m", "broker.cli")


@pytest.mark.parametrize("check", ["-verify_hostname localhost", "-verify_ip 127.0.0.1"])
def test_openssl_accepts_the_certificate_by_its_strictest_rules(tmp_path: Path, check: str) -> None:
    certificates = made(tmp_path)
    verified = subprocess.run(
        [
            *("openssl", "verify", "-x509_strict", "-purpose", "sslserver", *check.split()),
            *("-CAfile", certificates.ca, certificates.certificate),
        ],
        capture_output=True,
        check=False,
    )
    assert verified.returncode == 0, verified.stderr


def test_the_files_belong_to_their_owner_alone(tmp_path: Path) -> None:
    made(tmp_path)
    folder = tmp_path / "tls"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in folder.iterdir()}
    assert modes == dict.fromkeys(("ca.key", "ca.pem", "server.key", "server.pem"), 0o600)


def test_a_listener_takes_the_files_and_clients_pin_their_ca(tmp_path: Path) -> None:
    certificates = made(tmp_path)
    server_context(certificates.certificate, certificates.key)
    assert private_ca_fingerprint(certificates.certificate) == certificates.fingerprint


def test_running_again_renews_the_certificate_and_keeps_the_ca(tmp_path: Path) -> None:
    first = made(tmp_path)
    served, key = first.certificate.read_bytes(), first.key.read_bytes()
    second = make_certificates(tmp_path, ())
    assert first.ca_made
    assert not second.ca_made
    assert second.fingerprint == first.fingerprint
    assert second.hosts == HOSTS
    assert second.certificate.read_bytes() != served
    assert second.key.read_bytes() != key
    server_context(second.certificate, second.key)


def test_a_first_call_that_ended_before_its_ca_was_written_is_begun_again(tmp_path: Path) -> None:
    made(tmp_path)
    for name in ("ca.pem", "server.pem", "server.key"):
        (tmp_path / "tls" / name).unlink()
    again = made(tmp_path)
    server_context(again.certificate, again.key)


@pytest.mark.parametrize("lost", ["ca.key", "ca.pem"])
def test_a_ca_that_devices_pinned_is_never_replaced(tmp_path: Path, lost: str) -> None:
    certificates = made(tmp_path)
    (tmp_path / "tls" / lost).unlink()
    before = certificates.certificate.read_bytes()
    with pytest.raises(TlsFileError, match=lost):
        made(tmp_path)
    assert certificates.certificate.read_bytes() == before


def test_keys_that_are_not_the_cas_are_refused(tmp_path: Path) -> None:
    made(tmp_path / "one")
    made(tmp_path / "two")
    (tmp_path / "one/tls/ca.key").write_bytes((tmp_path / "two/tls/ca.key").read_bytes())
    with pytest.raises(TlsFileError, match="not the key"):
        made(tmp_path / "one")
    (tmp_path / "two/tls/ca.key").write_bytes(b"garbage")
    with pytest.raises(TlsFileError, match="not the key"):
        made(tmp_path / "two")


def test_an_expired_ca_signs_nothing(tmp_path: Path) -> None:
    under_an_expired_ca(tmp_path)
    with pytest.raises(TlsFileError, match="expired"):
        made(tmp_path)


def test_a_clock_that_was_set_back_is_told(tmp_path: Path) -> None:
    made(tmp_path)
    with pytest.raises(TlsFileError, match="clock"):
        make_certificates(tmp_path, HOSTS, now=datetime.now(UTC) - timedelta(days=1))


def test_a_certificate_does_not_outlive_its_ca(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    make_certificates(tmp_path, HOSTS, now=now - CA_LIFETIME + timedelta(days=10))
    renewed = make_certificates(tmp_path, HOSTS, days=20, now=now)
    assert renewed.expires_at == read_chain(renewed.ca)[0].not_valid_after_utc


def test_names_and_addresses_of_every_kind_are_taken(tmp_path: Path) -> None:
    hosts = ("Chat.Example.org.", "xn--bcher-kva.example", "10.0.0.1", "[::1]", "fe80::1")
    certificates = made(tmp_path, hosts)
    assert certificates.hosts == (
        "chat.example.org",
        "xn--bcher-kva.example",
        "10.0.0.1",
        "::1",
        "fe80::1",
    )
    names = read_chain(certificates.certificate)[0].extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert len(list(names.value)) == len(hosts)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "-a",
        "a-",
        "a b",
        "a/b",
        "mqtts://a",
        "a:1",
        "bücher",
        "a..b",
        "*.a",
        "a" * 64,
        "b." * 127,
    ],
)
def test_what_is_no_host_name_is_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(MisuseError, match="host name"):
        made(tmp_path, (host,))
    assert not (tmp_path / "tls" / "ca.key").exists()


def test_a_name_that_is_refused_leaves_no_folder(tmp_path: Path) -> None:
    for hosts in (["bad name"], [], ["localhost"] * (MAX_HOSTS + 1)):
        with pytest.raises(MisuseError):
            make_certificates(tmp_path / "data", hosts)
    assert list(tmp_path.iterdir()) == []


def test_the_number_of_names_and_days_is_bounded(tmp_path: Path) -> None:
    names = tuple(f"host{number}" for number in range(MAX_HOSTS + 1))
    make_certificates(tmp_path, names[:-1], days=MAX_DAYS)
    with pytest.raises(MisuseError, match=str(MAX_HOSTS)):
        made(tmp_path, names)
    for days in (0, MAX_DAYS + 1):
        with pytest.raises(MisuseError, match=str(MAX_DAYS)):
            make_certificates(tmp_path, HOSTS, days=days)


def test_the_first_call_has_to_name_a_host(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="--host"):
        made(tmp_path, ())


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TlsFileError, match="file/tls"):
        made(tmp_path / "file")


def test_the_command_takes_the_same_lifetime_as_the_function() -> None:
    assert cli_certs.DEFAULT_DAYS == DEFAULT_DAYS


def test_the_command_prints_paths_and_fingerprint(tmp_path: Path) -> None:
    words = [*PROGRAM, "certs", "--data", tmp_path, "--host", "localhost", "--json"]
    said = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
    assert bytes.fromhex(said["fingerprint"]) == private_ca_fingerprint(Path(said["tls_cert"]))
    server_context(Path(said["tls_cert"]), Path(said["tls_key"]))
    assert said["hosts"] == ["localhost"]
    assert said["ca_made"]


def test_the_command_says_what_is_wrong_and_ends_with_2(tmp_path: Path) -> None:
    ended = subprocess.run(
        [*PROGRAM, "certs", "--data", tmp_path, "--host", "no host"],
        capture_output=True,
        check=False,
    )
    assert ended.returncode == 2
    assert b"host name" in ended.stderr
