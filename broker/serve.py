"""The embedded broker and the key directory, in one process or each alone."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from broker.addresses import pinned_ca, public_host, url_of
from broker.directory import directory_of
from broker.embedded import EmbeddedBroker
from broker.health import health_server
from broker.listening import is_free
from broker.logs import get_logger
from broker.safety import require_safe
from broker.settings import LOOPBACK, BrokerSettings, is_loopback
from broker.starting import hold_for_start
from client_sdk.signals import until_signalled
from keydir.commands import run_directory
from keydir.data import read_broker_urls, write_broker_urls
from keydir.prepare import prepare_directory
from keydir.stores.server_credentials import open_credentials

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a running server is reached; None is off.

    Attributes:
        url: By devices; the host is one that its certificate is for.
        local_url: By the key directory on this machine, without TLS.
        ws_url: By browsers.
        metrics_url: By Prometheus on this machine.
    """

    url: str
    local_url: str
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
        answering = asyncio.Event()
        work = run_directory(directory_of(settings, addresses.local_url), answering.set)
        await until_signalled(work, answering, lambda: ready(addresses))


async def serve_broker(settings: BrokerSettings, ready: Ready) -> None:
    """Run the broker alone until SIGTERM or SIGINT; raises as ``serve``."""
    alone = settings.model_copy(update={"policy": None})
    async with _broker(alone) as addresses:
        listening = asyncio.Event()
        listening.set()
        forever = asyncio.Event().wait()
        await until_signalled(forever, listening, lambda: ready(addresses))


@asynccontextmanager
async def _broker(settings: BrokerSettings) -> AsyncIterator[Addresses]:
    """Yield the addresses of a running broker whose logins are in the directory's database."""
    async with AsyncExitStack() as stack:
        await asyncio.to_thread(require_safe, settings)
        stack.enter_context(hold_for_start(settings))
        prepared = await asyncio.to_thread(prepare_directory, directory_of(settings))
        credentials = open_credentials(prepared.database)
        stack.callback(credentials.close)
        port = settings.port or _earlier_port(settings)
        broker = EmbeddedBroker(settings.model_copy(update={"port": port}), credentials)
        await broker.start()
        stack.push_async_callback(broker.stop)
        addresses = _addresses(settings, broker)
        if settings.metrics_port is not None:
            shown = health_server(broker, settings.metrics_host, settings.metrics_port)
            addresses = replace(addresses, metrics_url=stack.enter_context(shown))
        if not (settings.has_tls or is_loopback(settings.host)):
            _log.warning("no TLS: reach this port through a VPN or tunnel", host=settings.host)
        urls = settings.public_urls or (addresses.url,)
        write_broker_urls(settings.data_dir, urls, pinned_ca(settings))
        yield addresses


def _addresses(settings: BrokerSettings, broker: EmbeddedBroker) -> Addresses:
    secure = "s" if settings.has_tls else ""
    host = public_host(settings)
    ws_port = broker.ws_port
    return Addresses(
        url=url_of(f"mqtt{secure}", host, broker.port),
        local_url=url_of("mqtt", LOOPBACK if settings.has_tls else host, broker.local_port),
        ws_url=None if ws_port is None else f"{url_of(f'ws{secure}', host, ws_port)}/mqtt",
    )


def _earlier_port(settings: BrokerSettings) -> int:
    """Return the port of the last start if it is free: invitations name it; else 0."""
    if settings.public_urls:
        return 0
    for url in read_broker_urls(settings.data_dir):
        port = urlsplit(url).port
        if port is not None:
            return port if is_free(settings.host, port) else 0
    return 0
