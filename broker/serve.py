"""The embedded broker and the key directory, in one process or each alone."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

from broker.embedded import EmbeddedBroker
from broker.errors import ListenError
from broker.health import health_server
from broker.listening import is_free, require_free_ports
from broker.lock import hold, is_known
from broker.logs import get_logger
from broker.metrics import Snapshot, Watched
from broker.notify import READY, STOPPING, notify
from broker.safety import require_safe
from broker.settings import BrokerSettings, is_loopback
from broker.statistics import Statistics
from client_sdk.signals import until_signalled
from keydir.commands import run_directory
from keydir.config import DirectorySettings
from keydir.data import read_broker_urls, write_broker_urls
from keydir.prepare import prepare_directory
from keydir.stores.credentials import CredentialReader

ANY_HOSTS: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - recognised, not listened on

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a running server is reached; None is off."""

    url: str
    ws_url: str | None = None
    metrics_url: str | None = None


Ready = Callable[[Addresses], None]


async def serve(settings: BrokerSettings, ready: Ready) -> None:
    """Run broker and key directory until SIGTERM or SIGINT.

    Args:
        settings: Where to listen and where the state is.
        ready: Called once with the addresses when both answer.

    Raises:
        MisuseError: The settings are not safe; nothing was started or written.
        OperationalError: A port, the folder or a file in it cannot be used; nothing runs.
    """
    async with _broker(settings) as addresses:
        directory = DirectorySettings(
            data_dir=settings.data_dir, broker_urls=(addresses.url,), policy=settings.policy
        )
        answering = asyncio.Event()
        work = run_directory(directory, answering.set)
        await until_signalled(work, answering, lambda: _say_ready(addresses, ready))
        notify(STOPPING)


async def serve_broker(settings: BrokerSettings, ready: Ready) -> None:
    """Run the broker alone until SIGTERM or SIGINT; raises as ``serve``."""
    alone = settings.model_copy(update={"policy": None})
    async with _broker(alone) as addresses:
        listening = asyncio.Event()
        listening.set()
        forever = asyncio.Event().wait()
        await until_signalled(forever, listening, lambda: _say_ready(addresses, ready))
        notify(STOPPING)


def _say_ready(addresses: Addresses, ready: Ready) -> None:
    ready(addresses)
    notify(READY)


@asynccontextmanager
async def _broker(settings: BrokerSettings) -> AsyncIterator[Addresses]:
    """Yield the addresses of a running broker whose logins are in the directory's database."""
    async with AsyncExitStack() as stack:
        await asyncio.to_thread(require_safe, settings)
        if is_known(settings.data_dir):  # who else runs there says more than its ports do
            stack.enter_context(hold(settings.data_dir))
            require_free_ports(settings)
        else:
            require_free_ports(settings)
            stack.enter_context(hold(settings.data_dir))
        directory = DirectorySettings(data_dir=settings.data_dir, policy=settings.policy)
        prepared = await asyncio.to_thread(prepare_directory, directory)
        credentials = CredentialReader(prepared.database_path)
        stack.callback(credentials.close)
        port = settings.port or _earlier_port(settings)
        broker = EmbeddedBroker(settings.model_copy(update={"port": port}), credentials)
        _refuse_what_is_missing(broker, settings)
        await broker.start()
        stack.push_async_callback(broker.stop)
        addresses = _addresses(settings, broker)
        if settings.metrics_port is not None:
            watched = broker if isinstance(broker, Watched) else _Unwatched()
            shown = health_server(watched, settings.metrics_host, settings.metrics_port)
            addresses = replace(addresses, metrics_url=stack.enter_context(shown))
        if not (settings.has_tls or is_loopback(settings.host)):
            _log.warning("no TLS: reach this port through a VPN or tunnel", host=settings.host)
        write_broker_urls(settings.data_dir, settings.public_urls or (addresses.url,))
        yield addresses


class _Unwatched:
    """Stands in for an engine that does not tell what it does."""

    def snapshot(self) -> Snapshot:
        return Snapshot(Statistics())


def _refuse_what_is_missing(broker: EmbeddedBroker, settings: BrokerSettings) -> None:
    """Start no listener in the clear that the settings want encrypted, and none too few."""
    has_all = hasattr(broker, "ws_port")
    if not has_all and (settings.has_tls or settings.ws_port is not None):
        raise ListenError("this engine has no TLS and no WebSocket; nothing was started")


def _addresses(settings: BrokerSettings, broker: EmbeddedBroker) -> Addresses:
    ws_port: int | None = getattr(broker, "ws_port", None)
    secure = "s" if settings.has_tls else ""
    url = _url(f"mqtt{secure}", settings.host, broker.port)
    ws_url = None if ws_port is None else _url(f"ws{secure}", settings.host, ws_port)
    return Addresses(url, ws_url)


def _earlier_port(settings: BrokerSettings) -> int:
    """Return the port of the last start if it is free: invitations name it; else 0."""
    if settings.public_urls:
        return 0
    for url in read_broker_urls(settings.data_dir):
        port = urlsplit(url).port
        if port is not None:
            return port if is_free(settings.host, port) else 0
    return 0


def _url(scheme: str, host: str, port: int) -> str:
    shown = "127.0.0.1" if host in ANY_HOSTS else host
    return f"{scheme}://[{shown}]:{port}" if ":" in shown else f"{scheme}://{shown}:{port}"
