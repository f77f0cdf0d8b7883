"""The embedded broker and the key directory, in one process or each alone."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from broker.embedded import EmbeddedBroker
from broker.logs import get_logger
from broker.settings import BrokerSettings
from client_sdk.signals import until_signalled
from keydir.commands import run_directory
from keydir.config import DirectorySettings
from keydir.data import read_broker_urls, write_broker_urls
from keydir.prepare import prepare_directory
from keydir.stores.credentials import CredentialReader

LOOPBACK_HOSTS: Final = frozenset({"127.0.0.1", "localhost", "::1"})
ANY_HOSTS: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - recognised, not listened on

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """What ``ratchetmq serve`` and ``ratchetmq broker`` are told."""

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 1883
    policy: str | None = None


async def serve(settings: ServeSettings, ready: Callable[[str], None]) -> None:
    """Run broker and key directory until SIGTERM or SIGINT.

    Args:
        settings: Where to listen and where the state is.
        ready: Called once with the broker's URL when both answer.

    Raises:
        OperationalError: The port, the folder or a file in it cannot be used; nothing runs.
    """
    async with _broker(settings) as url:
        directory = DirectorySettings(
            data_dir=settings.data_dir, broker_urls=(url,), policy=settings.policy
        )
        answering = asyncio.Event()
        work = run_directory(directory, answering.set)
        await until_signalled(work, answering, lambda: ready(url))


async def serve_broker(settings: ServeSettings, ready: Callable[[str], None]) -> None:
    """Run the broker alone until SIGTERM or SIGINT; raises as ``serve``."""
    async with _broker(settings) as url:
        listening = asyncio.Event()
        listening.set()
        await until_signalled(asyncio.Event().wait(), listening, lambda: ready(url))


@asynccontextmanager
async def _broker(settings: ServeSettings) -> AsyncIterator[str]:
    """Yield the URL of a running broker whose logins are in the directory's database."""
    directory = DirectorySettings(data_dir=settings.data_dir, policy=settings.policy)
    prepared = await asyncio.to_thread(prepare_directory, directory)
    credentials = CredentialReader(prepared.database_path)
    port = settings.port or _earlier_port(settings)
    broker = EmbeddedBroker(
        BrokerSettings(host=settings.host, port=port, data_dir=settings.data_dir), credentials
    )
    await broker.start()
    try:
        if settings.host not in LOOPBACK_HOSTS:
            _log.warning("no TLS: reach this port through a VPN or tunnel", host=settings.host)
        url = _url(settings.host, broker.port)
        write_broker_urls(settings.data_dir, (url,))
        yield url
    finally:
        await broker.stop()
        credentials.close()


def _earlier_port(settings: ServeSettings) -> int:
    """Return the port of the last start if it is free: invitations name it; else 0."""
    for url in read_broker_urls(settings.data_dir):
        port = urlsplit(url).port
        if port is None:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((settings.host, port))
            except OSError:
                return 0
            return port
    return 0


def _url(host: str, port: int) -> str:
    shown = "127.0.0.1" if host in ANY_HOSTS else host
    return f"mqtt://[{shown}]:{port}" if ":" in shown else f"mqtt://{shown}:{port}"
