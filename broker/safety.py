"""What keeps a server from starting, and what is unwise: the same rules for a start and a check."""

import stat
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

from broker.directory import directory_of
from broker.errors import DataDirectoryError, UnsafeError
from broker.logins import read_logins
from broker.public_urls import refused_urls
from broker.settings import BrokerSettings, is_loopback
from broker.tls import EXPIRY_WARNING, TlsFileError, read_chain, server_context, wall_clock
from keydir.data import KEYS_FILE, LOGIN_FILE
from keydir.prepare import what_is_lost
from keydir.stores.database import shown_database

_NOTHING_STARTED: Final = "nothing was started"
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
        raise UnsafeError(f"{'; '.join(refused)}; {_NOTHING_STARTED}")


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
    for text in refused_urls(settings):
        yield Finding(Level.REFUSED, "public_urls", text)
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
    for path in (folder / KEYS_FILE, folder / LOGIN_FILE):
        mode = _mode(path)
        if mode is not None and mode & _OTHERS:
            text = f"{path} can be read or written by others (mode {mode:o}): chmod 600 it"
            yield Finding(Level.REFUSED, "data_dir", text)
    mode = _mode(folder)
    if mode is not None and mode & _OTHERS:
        text = f"{folder} is open to others (mode {mode:o}): chmod 700 it"
        yield Finding(Level.UNWISE, "data_dir", text)


def _certificate(settings: BrokerSettings) -> Iterator[Finding]:
    if settings.tls_cert is None or settings.tls_key is None:
        return
    try:
        server_context(settings.tls_cert, settings.tls_key)
        ends = read_chain(settings.tls_cert)[0].not_valid_after_utc
    except TlsFileError as error:
        text = str(error).replace(f"; {_NOTHING_STARTED}", "")
        yield Finding(Level.REFUSED, "tls_cert", text)
        return
    if ends - wall_clock() < EXPIRY_WARNING:
        text = f"{settings.tls_cert} expires on {ends:%Y-%m-%d}: renew it"
        yield Finding(Level.UNWISE, "tls_cert", text)


def _logins(settings: BrokerSettings) -> Iterator[Finding]:
    directory = directory_of(settings)
    database = directory.database
    found = read_logins(database)
    # A node of a cluster needs no directory beside it.
    lost = None if settings.cluster_nodes else what_is_lost(directory, owned=found.owned)
    if lost is not None:
        yield Finding(Level.REFUSED, "data_dir", lost)
    if found.blank:
        text = (
            f"{shown_database(database)} has {found.blank} logins without a name or password:"
            " somebody changed it; restore it from a backup"
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
