"""The embedded broker: its socket, its file of waiting mail and its engine, started as one."""

import asyncio
import errno
import socket
from contextlib import AsyncExitStack
from typing import Final

from broker.access import Access, TopicTable
from broker.engine import Engine
from broker.errors import ListenError, PortInUseError
from broker.logs import get_logger, quiet_engine
from broker.ports import Credentials
from broker.retained import WaitingMail
from broker.settings import BrokerSettings
from broker.statistics import Statistics

AUTH_PLUGIN: Final = "broker.auth.CredentialsPlugin"
_BACKLOG: Final = 512
_log = get_logger(__name__)


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
        self._engine: Engine | None = None
        self._running: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    @property
    def port(self) -> int:
        """The TCP port: after ``start`` the real one, also where 0 was asked for."""
        return self._port

    async def start(self) -> None:
        """Load waiting mail and accept connections; after a failure nothing is left running.

        Raises:
            PortInUseError: Another program has the port.
            ListenError: The system refuses the host or port.
            DataDirectoryError: The data directory or the file in it cannot be used.
        """
        quiet_engine()
        async with AsyncExitStack() as stack:
            listening = stack.enter_context(_listen(self._settings.host, self._settings.port))
            limits = self._settings.limits
            mail = WaitingMail(self._settings.data_dir, limits, self.statistics)
            await mail.open()
            stack.push_async_callback(mail.close)
            engine = Engine(self._credentials, mail, limits, self._access, self._auth_plugin)
            await engine.start()
            stack.push_async_callback(engine.shutdown)
            self._port = listening.getsockname()[1]
            self._engine = engine
            self._stopping.clear()
            running = self._run(engine, listening, stack.pop_all())
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

    async def _run(self, engine: Engine, listening: socket.socket, opened: AsyncExitStack) -> None:
        async with opened:
            loop = asyncio.get_running_loop()
            server = await loop.create_server(engine.new_link, sock=listening, backlog=_BACKLOG)
            try:
                await engine.run(self._stopping)
            finally:
                server.close()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(
                f"port {port} is in use by another program; nothing was started: end that program"
                " or choose another port"
            ) from error
        raise ListenError(
            f"cannot listen on {host} port {port} ({error.strerror}); nothing was started:"
            " choose another address"
        ) from error
    # Accepted sockets inherit it; asyncio itself sets it only on sockets that it made.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listening.setblocking(False)  # noqa: FBT003
    return listening
