"""The embedded broker: its sockets, its file of waiting mail and its engine, started as one."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Final, NamedTuple

from broker.access import Access, TopicTable
from broker.engine import Engine
from broker.listening import BACKLOG, listen
from broker.logs import get_logger, quiet_engine
from broker.metrics import Snapshot
from broker.ports import Credentials
from broker.retained import WaitingMail
from broker.settings import LOOPBACK, BrokerSettings
from broker.statistics import Statistics
from broker.tls import server_context
from broker.websocket import WebSocketProtocol

AUTH_PLUGIN: Final = "broker.auth.CredentialsPlugin"
HANDSHAKE_SECONDS: Final = 10.0
"""From the open socket to the end of the TLS handshake; the login has its own time after it."""

_log = get_logger(__name__)


class _Listener(NamedTuple):
    listening: socket.socket
    is_websocket: bool
    tls: ssl.SSLContext | None


class EmbeddedBroker:
    """An MQTT 3.1.1 broker for one key directory's devices, inside this process.

    Example:
        broker = EmbeddedBroker(BrokerSettings(port=0, data_dir=folder), credentials)
        await broker.start()
        ...
        await broker.stop()
    """

    def __init__(
        self,
        settings: BrokerSettings,
        credentials: Credentials,
        *,
        access: Access | None = None,
        auth_plugin: str = AUTH_PLUGIN,
    ) -> None:
        """Prepare; nothing is opened before ``start``.

        Args:
            settings: Where to listen, where the state is, and the limits.
            credentials: Who may log in.
            access: What each login may do; the protocol's topic table unless told otherwise.
            auth_plugin: The plugin of amqtt that admits clients, by its dotted path.
        """
        self.statistics = Statistics()
        self._settings = settings
        self._credentials = credentials
        self._access = access or TopicTable()
        self._auth_plugin = auth_plugin
        self._port = settings.port
        self._ws_port = settings.ws_port
        self._local_port = settings.port
        self._engine: Engine | None = None
        self._running: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    @property
    def port(self) -> int:
        """The TCP port: after ``start`` the real one, also where 0 was asked for."""
        return self._port

    @property
    def ws_port(self) -> int | None:
        """The TCP port of WebSocket, as ``port``; None where it is off."""
        return self._ws_port

    @property
    def local_port(self) -> int:
        """A TCP port of MQTT without TLS on 127.0.0.1, for a key directory on this machine."""
        return self._local_port

    async def start(self) -> None:
        """Load waiting mail and accept connections; after a failure nothing is left running.

        Raises:
            PortInUseError: Another program has a port.
            ListenError: The system refuses the host or a port.
            TlsFileError: The certificate or its key cannot be used.
            DataDirectoryError: The data directory or the file in it cannot be used.
        """
        quiet_engine()
        settings = self._settings
        async with AsyncExitStack() as stack:
            tls = None
            if settings.tls_cert is not None and settings.tls_key is not None:
                tls = server_context(settings.tls_cert, settings.tls_key)
            mqtt = stack.enter_context(_listen(settings.host, settings.port))
            local = stack.enter_context(_listen(LOOPBACK, 0)) if tls is not None else mqtt
            sockets = [(mqtt, False)]
            if settings.ws_port is not None:
                ws = stack.enter_context(_listen(settings.host, settings.ws_port))
                sockets.append((ws, True))
                self._ws_port = ws.getsockname()[1]
            mail = WaitingMail(settings.data_dir, settings.limits, self.statistics)
            await mail.open()
            stack.push_async_callback(mail.close)
            engine = Engine(
                self._credentials, mail, settings.limits, self._access, self._auth_plugin
            )
            await engine.start()
            stack.push_async_callback(engine.shutdown)
            self._port, self._local_port = mqtt.getsockname()[1], local.getsockname()[1]
            self._engine = engine
            self._stopping.clear()
            listeners = [_Listener(one, web, tls) for one, web in sockets]
            if tls is not None:
                listeners.append(_Listener(local, is_websocket=False, tls=None))
            running = self._run(engine, listeners, stack.pop_all())
            self._running = asyncio.create_task(running, name="embedded broker")
            _log.info("listening", port=self._port, waiting=len(mail.index))

    async def stop(self) -> None:
        """Close every connection, write all waiting mail, and leave nothing running."""
        if self._running is not None:
            self._stopping.set()
            await self._running
            self._running = self._engine = None

    def check_credentials(self) -> None:
        """Close at once the connections whose credential was revoked or changed."""
        if self._engine is not None:
            self._engine.check_credentials()

    def snapshot(self) -> Snapshot:
        """Return what is connected, waits and was counted now, see ``Watched``."""
        engine = self._engine
        if engine is None:
            return Snapshot(self.statistics, storing=False)
        clients, index = engine.clients, engine.mail.index
        connected = [connection.subscriber for connection in clients.connections.values()]
        absent = list(clients.absent.values())
        return Snapshot(
            statistics=self.statistics,
            connections=len(connected),
            sessions=len(absent) + sum(one.persistent for one in connected),
            waiting_messages=len(index),
            waiting_bytes=index.size,
            queued_messages=sum(one.outbound.queued for one in (*connected, *absent)),
            storing=not engine.mail.failing,
        )

    async def _run(
        self, engine: Engine, listeners: list[_Listener], opened: AsyncExitStack
    ) -> None:
        async with opened:
            loop = asyncio.get_running_loop()
            origins = self._settings.ws_origins
            servers = []
            for listening, is_websocket, tls in listeners:
                factory: Callable[[], asyncio.Protocol] = engine.new_link
                if is_websocket:
                    factory = partial(WebSocketProtocol, engine.new_link, origins)
                servers.append(
                    await loop.create_server(
                        factory,
                        sock=listening,
                        ssl=tls,
                        ssl_handshake_timeout=None if tls is None else HANDSHAKE_SECONDS,
                        backlog=BACKLOG,
                    )
                )
            try:
                await engine.run(self._stopping)
            finally:
                for server in servers:
                    server.close()


def _listen(host: str, port: int) -> socket.socket:
    listening = listen(host, port)
    # Accepted sockets inherit it; asyncio itself sets it only on sockets that it made.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listening.setblocking(False)  # noqa: FBT003
    return listening
