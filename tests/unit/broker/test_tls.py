"""The files of a TLS listener: what is refused before it listens, and which CA clients pin."""

import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from broker.certs import Certificates
from broker.tls import (
    EXPIRY_WARNING,
    MAX_PEM_BYTES,
    TlsFileError,
    certified_hosts,
    load_certificate,
    private_ca_fingerprint,
    server_context,
)
from tests.unit.broker.certificates import HOSTS, expired, made


def test_a_listener_speaks_tls_1_2_and_newer(tmp_path: Path) -> None:
    files = made(tmp_path)
    context = server_context(files.certificate, files.key)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_NONE


@pytest.mark.parametrize("name", ["server.pem", "server.key"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    files = made(tmp_path)
    (tmp_path / "tls" / name).unlink()
    with pytest.raises(TlsFileError, match=name):
        server_context(files.certificate, files.key)


@pytest.mark.parametrize("garbage", [b"", b"garbage", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
@pytest.mark.parametrize("name", ["server.pem", "server.key"])
def test_what_is_no_pem_is_refused(tmp_path: Path, name: str, garbage: bytes) -> None:
    files = made(tmp_path)
    (tmp_path / "tls" / name).write_bytes(garbage)
    with pytest.raises(TlsFileError, match=name):
        server_context(files.certificate, files.key)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    files, others = made(tmp_path / "one"), made(tmp_path / "two")
    with pytest.raises(TlsFileError, match="not the private key"):
        server_context(files.certificate, others.key)


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601, 0o644])
def test_a_key_that_others_can_open_is_refused(tmp_path: Path, mode: int) -> None:
    files = made(tmp_path)
    files.key.chmod(mode)
    with pytest.raises(TlsFileError, match="chmod 600"):
        server_context(files.certificate, files.key)
    files.key.chmod(0o640)
    server_context(files.certificate, files.key)


def test_an_encrypted_key_is_refused_without_asking_anybody(tmp_path: Path) -> None:
    files, locked = made(tmp_path), tmp_path / "locked.key"
    subprocess.run(
        ["openssl", "ec", "-aes256", "-passout", "pass:secret", "-in", files.key, "-out", locked],
        capture_output=True,
        check=True,
    )
    locked.chmod(0o600)
    with pytest.raises(TlsFileError, match="encrypted"):
        server_context(files.certificate, locked)


def test_an_expired_certificate_is_refused(tmp_path: Path) -> None:
    files = expired(tmp_path)
    with pytest.raises(TlsFileError, match="expired on"):
        server_context(files.certificate, files.key)


def test_a_certificate_of_the_future_is_refused(tmp_path: Path) -> None:
    files = made(tmp_path)
    with pytest.raises(TlsFileError, match="clock"):
        server_context(files.certificate, files.key, lambda: datetime.now(UTC) - timedelta(days=1))


@pytest.mark.parametrize(("left", "warned"), [(timedelta(seconds=1), True), (timedelta(0), False)])
def test_the_last_two_weeks_of_a_certificate_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, left: timedelta, warned: bool
) -> None:
    files = made(tmp_path)
    server_context(files.certificate, files.key, lambda: files.expires_at - EXPIRY_WARNING + left)
    assert ("expires soon" in caplog.text) is warned


def test_a_chain_has_a_bound(tmp_path: Path) -> None:
    files = made(tmp_path)
    chain = files.certificate.read_bytes()
    files.certificate.write_bytes(chain + b"\n" * (MAX_PEM_BYTES - len(chain)))
    server_context(files.certificate, files.key)
    files.certificate.write_bytes(chain + b"\n" * (MAX_PEM_BYTES - len(chain) + 1))
    with pytest.raises(TlsFileError, match=str(MAX_PEM_BYTES)):
        server_context(files.certificate, files.key)


def test_a_chain_without_its_ca_has_nothing_to_pin(tmp_path: Path) -> None:
    files = made(tmp_path)
    first, mark, _ = files.certificate.read_bytes().partition(b"-----END CERTIFICATE-----\n")
    files.certificate.write_bytes(first + mark)
    assert private_ca_fingerprint(files.certificate) is None


def test_a_ca_that_the_system_trusts_is_public(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = made(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(files.ca))
    assert private_ca_fingerprint(files.certificate) is None


def test_a_ca_in_the_systems_folder_is_public_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, folder = made(tmp_path), tmp_path / "trusted"
    folder.mkdir()
    (folder / "0f0f0f0f.0").write_bytes(files.ca.read_bytes())
    (folder / "0f0f0f0f.1").write_text("no certificate")
    monkeypatch.setenv("SSL_CERT_DIR", str(folder))
    assert private_ca_fingerprint(files.certificate) is None


def test_a_ca_that_has_not_issued_the_certificate_is_not_pinned(tmp_path: Path) -> None:
    files, others = made(tmp_path / "one"), made(tmp_path / "two")
    first, mark, _ = files.certificate.read_bytes().partition(b"-----END CERTIFICATE-----\n")
    files.certificate.write_bytes(first + mark + others.ca.read_bytes())
    with pytest.raises(TlsFileError, match="did not issue"):
        private_ca_fingerprint(files.certificate)


def test_a_certificate_says_which_hosts_it_is_for(tmp_path: Path) -> None:
    hosts = ("chat.example", "10.0.0.1", "::1")
    assert certified_hosts(made(tmp_path, hosts).certificate) == hosts


def test_a_self_signed_certificate_is_its_own_ca(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-subj", f"/CN={HOSTS[0]}", "-keyout", key, "-out", certificate),
        ],
        capture_output=True,
        check=True,
    )
    key.chmod(0o600)
    server_context(certificate, key)
    pinned = private_ca_fingerprint(certificate)
    assert pinned is not None
    assert len(pinned) == 32
    with pytest.raises(TlsFileError, match="names no host"):
        certified_hosts(certificate)


def served_by(context: ssl.SSLContext, files: Certificates) -> bytes | None:
    """Return the certificate that a handshake with a listener shows, in DER."""
    client = ssl.create_default_context(cafile=str(files.ca))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server, server_hostname=HOSTS[0])
    answering = context.wrap_bio(to_server, to_client, server_side=True)
    for side in (asking, answering, asking, answering):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return asking.getpeercert(binary_form=True)


def test_a_renewed_certificate_is_taken_without_a_restart(tmp_path: Path) -> None:
    files = made(tmp_path)
    context = server_context(files.certificate, files.key)
    before = served_by(context, files)
    made(tmp_path)
    assert served_by(context, files) == before
    load_certificate(context, files.certificate, files.key)
    assert served_by(context, files) not in {before, None}


def test_files_that_cannot_be_used_leave_the_earlier_certificate(tmp_path: Path) -> None:
    files, others = made(tmp_path / "one"), made(tmp_path / "two")
    context = server_context(files.certificate, files.key)
    before = served_by(context, files)
    with pytest.raises(TlsFileError):
        load_certificate(context, others.certificate, files.key)
    assert served_by(context, files) == before
