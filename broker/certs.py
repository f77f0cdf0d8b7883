"""A private CA and a server certificate, for servers that no public CA knows."""

import fcntl
import ipaddress
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from broker.tls import TlsFileError, read_chain, unreadable, wall_clock
from client_sdk.wire.errors import MisuseError

FOLDER: Final = "tls"
CA_FILE: Final = "ca.pem"
CA_KEY_FILE: Final = "ca.key"
SERVER_FILE: Final = "server.pem"
SERVER_KEY_FILE: Final = "server.key"

CA_LIFETIME: Final = timedelta(days=3650)
"""Devices pin the CA: a new one is a new invitation for everybody."""

DEFAULT_DAYS: Final = 397
MAX_DAYS: Final = 825
"""Some systems refuse server certificates that are valid for longer."""

MAX_HOSTS: Final = 32
MAX_HOST_CHARACTERS: Final = 253
CLOCK_SKEW: Final = timedelta(hours=1)
"""Certificates are valid from an hour ago: a device's clock may be behind."""

_USAGES: Final = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
"""The nodes of a cluster are clients of each other."""

_FILE_MODE: Final = 0o600
_FOLDER_MODE: Final = 0o700
_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")


@dataclass(frozen=True, slots=True)
class Certificates:
    """What ``make_certificates`` left on disk.

    Attributes:
        certificate: The server's certificate and the CA's, for ``--tls-cert``.
        key: The server's private key, for ``--tls-key``.
        ca: The CA's certificate alone, for other clients.
        fingerprint: SHA-256 of the CA's certificate, which invitations carry.
        hosts: What the certificate is for.
        expires_at: The end of the server's certificate.
        ca_made: Whether the CA is new; else devices that pinned it need nothing.
    """

    certificate: Path
    key: Path
    ca: Path
    fingerprint: bytes
    hosts: tuple[str, ...]
    expires_at: datetime
    ca_made: bool


@dataclass(frozen=True, slots=True)
class _Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def make_certificates(
    data_dir: Path, hosts: Sequence[str], days: int = DEFAULT_DAYS, now: datetime | None = None
) -> Certificates:
    """Make a server certificate under the folder's private CA; the first call makes the CA.

    Args:
        data_dir: The server's data directory; the files lie in its folder ``tls``.
        hosts: DNS names and IP addresses that clients connect to; none takes those of the
            certificate that is renewed.
        days: How long the certificate is valid, at most as long as the CA.
        now: The time; None is the clock's.

    Raises:
        MisuseError: A name or the number of days cannot be; nothing was changed.
        TlsFileError: The folder or a file in it cannot be used; the CA is as it was.
    """
    if not 1 <= days <= MAX_DAYS:
        raise MisuseError(f"a certificate is valid for 1 to {MAX_DAYS} days; nothing was changed")
    at = wall_clock() if now is None else now
    folder = data_dir / FOLDER
    names = [_general_name(host) for host in hosts] or _names_of(folder / SERVER_FILE)
    if len(names) > MAX_HOSTS:
        raise MisuseError(f"at most {MAX_HOSTS} --host; nothing was changed")
    with _held(folder):
        # A key alone is what a crash of the first call left; no certificate is under it.
        ca_made = not (folder / CA_FILE).exists() and not (folder / SERVER_FILE).exists()
        authority = _make_authority(folder, at) if ca_made else _read_authority(folder, at)
        key = ec.generate_private_key(ec.SECP256R1())
        served = _server_certificate(authority, key, names, (at, at + timedelta(days=days)))
        # A crash between the two leaves files that do not fit, which the next start names.
        _write(folder / SERVER_KEY_FILE, _key_pem(key))
        _write(folder / SERVER_FILE, _pem(served) + _pem(authority.certificate))
    return Certificates(
        certificate=folder / SERVER_FILE,
        key=folder / SERVER_KEY_FILE,
        ca=folder / CA_FILE,
        fingerprint=authority.certificate.fingerprint(hashes.SHA256()),
        hosts=tuple(str(name.value) for name in names),
        expires_at=served.not_valid_after_utc,
        ca_made=ca_made,
    )


def _make_authority(folder: Path, now: datetime) -> _Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    # A name of its own: systems that know several CAs find the right one by it.
    name = _name(f"RatchetMQ private CA {serial:x}"[:40])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(folder / CA_KEY_FILE, _key_pem(key))
    _write(folder / CA_FILE, _pem(certificate))
    return _Authority(certificate, key)


def _read_authority(folder: Path, now: datetime) -> _Authority:
    certificate = read_chain(folder / CA_FILE)[0]
    try:
        key = load_pem_private_key((folder / CA_KEY_FILE).read_bytes(), None)
    except OSError as error:
        raise unreadable(folder / CA_KEY_FILE, error) from error
    except (ValueError, TypeError) as error:
        raise _damaged(folder) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise _damaged(folder)
    if key.public_key() != certificate.public_key():
        raise _damaged(folder)
    if now < certificate.not_valid_before_utc:
        raise TlsFileError(
            f"the CA in {folder} is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} "
            "UTC only; nothing was changed; check this machine's clock"
        )
    if now > certificate.not_valid_after_utc:
        raise TlsFileError(
            f"the CA in {folder} expired on {certificate.not_valid_after_utc:%Y-%m-%d}; nothing "
            "was changed; move the folder away, make a new CA and invite every device again"
        )
    return _Authority(certificate, key)


def _server_certificate(
    authority: _Authority,
    key: ec.EllipticCurvePrivateKey,
    names: Sequence[x509.GeneralName],
    valid: tuple[datetime, datetime],
) -> x509.Certificate:
    begins, ends = valid
    issuer = authority.certificate
    issuer_id = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        x509.CertificateBuilder()
        .subject_name(_name(str(names[0].value)[:64]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(max(begins - CLOCK_SKEW, issuer.not_valid_before_utc))
        .not_valid_after(min(ends, issuer.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(_USAGES), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_id),
            critical=False,
        )
        .sign(authority.key, hashes.SHA256())
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        pass
    labels = host.removesuffix(".").split(".")
    if len(host) > MAX_HOST_CHARACTERS or not all(_LABEL.fullmatch(label) for label in labels):
        raise MisuseError(
            f"{host!r} is neither a host name nor an IP address; nothing was changed; give the "
            "name alone, without scheme and port, in ASCII (xn--… for others)"
        )
    return x509.DNSName(host.removesuffix(".").lower())


def _names_of(certificate: Path) -> list[x509.GeneralName]:
    """Return what the certificate that is renewed is for."""
    if not certificate.exists():
        raise MisuseError(
            "which host is the certificate for? give --host with each name or address that "
            "clients connect to; nothing was changed"
        )
    try:
        extensions = read_chain(certificate)[0].extensions
        return list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except (ValueError, x509.ExtensionNotFound) as error:
        raise TlsFileError(
            f"{certificate} names no host; nothing was changed; give --host"
        ) from error


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold the folder, so that two calls at once do not make two CAs."""
    try:
        for one in (folder.parent, folder):
            one.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise unreadable(folder, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise unreadable(path, error) from error


def _damaged(folder: Path) -> TlsFileError:
    return TlsFileError(
        f"{folder / CA_KEY_FILE} is not the key of {folder / CA_FILE}; nothing was changed; "
        "restore both from a backup: devices have pinned this CA"
    )
