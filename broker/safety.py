"""What keeps a server from starting, and what is unwise: the same rules for a start and a check."""

import ssl
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509

from broker.errors import DataDirectoryError, UnsafeError
from broker.logins import read_logins
from broker.settings import BrokerSettings, is_loopback
from keydir.data import KEYS_FILE, LOGIN_FILE

DATABASE_FILE: Final = "directory.db"
EXPIRY_WARNING: Final = timedelta(days=30)

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class Level(StrEnum):
    """How bad a finding is."""

    REFUSED = "refused"
    UNWISE = "unwise"


class Finding(NamedTuple):
    """One thing about some settings: how bad, about which setting, and what to do."""

    level: Level
    setting: str
    text: str


def require_safe(settings: BrokerSettings) -> None:
    """Return if a server may start on ``settings``; reads files, changes nothing.

    Raises:
        UnsafeError: It may not; all reasons are in the text.
        DataDirectoryError: The database of logins cannot be read.
    """
    refused = [found.text for found in unsafe(settings) if found.level is Level.REFUSED]
    if refused:
        raise UnsafeError(f"{'; '.join(refused)}; nothing was started")


def unsafe(settings: BrokerSettings) -> Iterator[Finding]:
    """Yield what is refused and what is unwise about ``settings``.

    Raises:
        DataDirectoryError: The database of logins cannot be read.
    """
    yield from unsafe_files(settings)
    yield from _logins(settings)


def unsafe_files(settings: BrokerSettings) -> Iterator[Finding]:
    """Yield what ``unsafe`` does, whoever can log in by now: for what is started later."""
    yield from _exposure(settings)
    yield from _private(settings)
    yield from _certificate(settings)


def _exposure(settings: BrokerSettings) -> Iterator[Finding]:
    if is_loopback(settings.host) or settings.has_tls:
        return
    if settings.allow_plaintext:
        text = (
            f"{settings.host} is reachable without TLS: passwords cross the network readable"
            " unless a VPN or a TLS proxy is in front"
        )
        yield Finding(Level.UNWISE, "allow_plaintext", text)
    else:
        text = (
            f"{settings.host} is beyond loopback and there is no TLS: give --tls-cert and"
            " --tls-key, or --allow-plaintext behind a VPN or TLS proxy"
        )
        yield Finding(Level.REFUSED, "host", text)


def _private(settings: BrokerSettings) -> Iterator[Finding]:
    folder = settings.data_dir
    files = [("tls_key", settings.tls_key)] if settings.tls_key else []
    files += [("data_dir", folder / name) for name in (KEYS_FILE, LOGIN_FILE)]
    for setting, path in files:
        mode = _mode(path)
        if mode is not None and mode & _OTHERS:
            text = f"{path} can be read or written by others (mode {mode:o}): chmod 600 it"
            yield Finding(Level.REFUSED, setting, text)
    mode = _mode(folder)
    if mode is not None and mode & _OTHERS:
        text = f"{folder} is open to others (mode {mode:o}): chmod 700 it"
        yield Finding(Level.UNWISE, "data_dir", text)


def _certificate(settings: BrokerSettings) -> Iterator[Finding]:
    if settings.tls_cert is None or settings.tls_key is None:
        return
    for setting, path in (("tls_cert", settings.tls_cert), ("tls_key", settings.tls_key)):
        if (reason := _unreadable(path)) is not None:
            yield Finding(Level.REFUSED, setting, f"{path} cannot be read: {reason}")
            return
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(settings.tls_cert, settings.tls_key, password=lambda: b"")
        certificate = x509.load_pem_x509_certificates(settings.tls_cert.read_bytes())[0]
    except (OSError, ValueError) as error:
        text = f"{settings.tls_cert} and {settings.tls_key} are no certificate with its key"
        reason = f" ({error.reason})" if isinstance(error, ssl.SSLError) and error.reason else ""
        yield Finding(Level.REFUSED, "tls_key", text + reason)
        return
    yield from _validity(settings.tls_cert, certificate)


def _validity(path: Path, certificate: x509.Certificate) -> Iterator[Finding]:
    now = datetime.now(UTC)
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if ends <= now:
        yield Finding(Level.REFUSED, "tls_cert", f"{path} expired on {ends:%Y-%m-%d}: renew it")
    elif ends - now < EXPIRY_WARNING:
        yield Finding(Level.UNWISE, "tls_cert", f"{path} expires on {ends:%Y-%m-%d}: renew it")
    if begins > now:
        text = f"{path} is not valid before {begins:%Y-%m-%d}: is this machine's clock right?"
        yield Finding(Level.UNWISE, "tls_cert", text)


def _logins(settings: BrokerSettings) -> Iterator[Finding]:
    database = settings.data_dir / DATABASE_FILE
    found = read_logins(database)
    if found.blank:
        text = (
            f"{database} has {found.blank} logins without a name or password: somebody changed it;"
            " restore it from a backup"
        )
        yield Finding(Level.REFUSED, "data_dir", text)
    if not found.others and not is_loopback(settings.host):
        text = (
            f"nobody could log in on {settings.host} yet: start once on 127.0.0.1, make the first"
            " invitation (`ratchetmq invite USER --data DIR`) and start again"
        )
        yield Finding(Level.REFUSED, "host", text)


def _mode(path: Path) -> int | None:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataDirectoryError(
            f"{path}: {error.strerror}; nothing was started: check its owner and mode"
        ) from error


def _unreadable(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        return error.strerror or "unknown"
    return None
