"""The TLS of the broker's listeners: what is refused at the start, and what clients pin."""

import ssl
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from broker.logs import get_logger
from client_sdk.wire.errors import OperationalError

READABLE_BY_OTHERS: Final = 0o007
"""Mode bits that a private key must not have; a group may read it, as packages of TLS keys do."""

EXPIRY_WARNING: Final = timedelta(days=30)
MAX_PEM_BYTES: Final = 256 * 1024
"""A chain has a few KiB; a larger file is something else."""

_log = get_logger(__name__)


class TlsFileError(OperationalError):
    """A certificate or key file cannot be used; nothing was started or changed."""

    code = "tls_file"


def wall_clock() -> datetime:
    """Return the time that certificates are checked against."""
    return datetime.now(UTC)


def server_context(
    certificate: Path, key: Path, now: Callable[[], datetime] = wall_clock
) -> ssl.SSLContext:
    """Return the TLS settings of a listener: TLS 1.2 or newer, no client certificate.

    Args:
        certificate: PEM; the server's certificate, then those that clients need to verify it.
        key: PEM; the private key of the first certificate, unreadable for others.
        now: The time that the certificate is checked against.

    Raises:
        TlsFileError: A file is missing, damaged or readable by others, the key is not the
            certificate's, or the certificate is not valid now; nothing was started.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    load_certificate(context, certificate, key, now)
    return context


def load_certificate(
    context: ssl.SSLContext,
    certificate: Path,
    key: Path,
    now: Callable[[], datetime] = wall_clock,
) -> None:
    """Have the next connections of a listener use these files: after a renewal, without a restart.

    Raises:
        TlsFileError: As ``server_context``; the earlier certificate is used on.
    """
    served = read_chain(certificate)[0]
    _check_key_file(key)
    _check_time(certificate, served, now())
    # Tried first: a chain whose key does not fit would stay in the context.
    for one in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), context):
        _load(one, certificate, key)


def _load(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except TlsFileError:
        raise
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsFileError(
                f"{key} is not the private key of {certificate}; nothing was started; give the "
                "two files that were made together"
            ) from error
        raise TlsFileError(
            f"{key} is no private key in PEM, or one that TLS here does not know; nothing was "
            "started; check --tls-key"
        ) from error
    except OSError as error:
        raise unreadable(key, error) from error


def private_ca_fingerprint(certificate: Path) -> bytes | None:
    """Return what invitations carry of a private CA: SHA-256 of its certificate in DER.

    Args:
        certificate: The file that ``server_context`` is given. A private CA is the self-signed
            certificate that ends it; one that this system trusts anyway is a public CA.

    Returns:
        32 bytes; None where the file does not end in a private CA: then clients use the
        authorities that their systems trust.

    Raises:
        TlsFileError: The file cannot be read, or its last certificate has not issued the others.
    """
    chain = read_chain(certificate)
    last = chain[-1]
    if not issued(last, last) or _is_public(last):
        return None
    for subject, issuer in pairwise(chain):
        if not issued(subject, issuer):
            raise TlsFileError(
                f"{certificate} ends in a certificate that did not issue those before it; nothing "
                "was started; order the file: server, intermediates, CA"
            )
    return last.fingerprint(hashes.SHA256())


def certified_hosts(certificate: Path) -> tuple[str, ...]:
    """Return the names and addresses that a server's certificate is for, in its order.

    Invitations have to name one of them: clients refuse every other.

    Raises:
        TlsFileError: The file cannot be read, or its certificate names none.
    """
    try:
        extensions = read_chain(certificate)[0].extensions
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound) as error:
        raise TlsFileError(
            f"the certificate in {certificate} names no host, so clients refuse it; nothing was "
            "started; make one with the names that clients connect to"
        ) from error
    wanted = (x509.DNSName, x509.IPAddress)
    return tuple(str(name.value) for name in names if isinstance(name, wanted))


def read_chain(certificate: Path) -> list[x509.Certificate]:
    """Return the certificates of a PEM file, at least one.

    Raises:
        TlsFileError: It cannot be read, or there is none in it.
    """
    try:
        with certificate.open("rb") as file:
            data = file.read(MAX_PEM_BYTES + 1)
    except OSError as error:
        raise unreadable(certificate, error) from error
    if len(data) > MAX_PEM_BYTES:
        raise TlsFileError(
            f"{certificate} has over {MAX_PEM_BYTES} bytes; nothing was started; it should hold a "
            "chain of certificates"
        )
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise TlsFileError(
            f"{certificate} holds no certificate in PEM; nothing was started; check --tls-cert"
        ) from error


def unreadable(path: Path, error: OSError) -> TlsFileError:
    """Return the error of a file that the system does not hand over."""
    return TlsFileError(
        f"{path} cannot be read ({error.strerror}); nothing was started; check path and mode, or "
        "make certificates with `ratchetmq certs`"
    )


def _check_key_file(key: Path) -> None:
    try:
        mode = key.stat().st_mode
    except OSError as error:
        raise unreadable(key, error) from error
    if mode & READABLE_BY_OTHERS:
        raise TlsFileError(
            f"{key} is open to every user of this machine (mode {mode & 0o777:04o}); nothing was "
            f"started; run `chmod 600 {key}`, and make a new key if others could log in here"
        )


def _check_time(path: Path, served: x509.Certificate, now: datetime) -> None:
    if now > served.not_valid_after_utc:
        raise TlsFileError(
            f"the certificate in {path} expired on {served.not_valid_after_utc:%Y-%m-%d}; no "
            "client accepts it; nothing was started; renew it (`ratchetmq certs` for a private CA)"
        )
    if now < served.not_valid_before_utc:
        raise TlsFileError(
            f"the certificate in {path} is valid from {served.not_valid_before_utc:%Y-%m-%d %H:%M}"
            " UTC only; nothing was started; check this machine's clock"
        )
    if served.not_valid_after_utc - now < EXPIRY_WARNING:
        _log.warning("certificate expires soon", until=served.not_valid_after_utc.isoformat())


def issued(subject: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Tell whether one certificate is signed by another one directly."""
    try:
        subject.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _is_public(authority: x509.Certificate) -> bool:
    context = ssl.create_default_context()
    folder = ssl.get_default_verify_paths().capath
    # OpenSSL looks into the folder only when it verifies; its files are named by hashes.
    for file in Path(folder).glob("*.[0-9]") if folder else ():
        with suppress(OSError):
            context.load_verify_locations(file)
    return authority.public_bytes(Encoding.DER) in context.get_ca_certs(binary_form=True)


def _no_passphrase() -> str:
    # Without this OpenSSL asks for it on the terminal, and a server stands still.
    raise TlsFileError(
        "the private key is encrypted, and a server has nobody to ask for its passphrase; nothing "
        "was started; give a key without one, mode 0600"
    )
