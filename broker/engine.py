"""The engine: amqtt's broker with its own connections, routing and access control.

What is replaced, and why, is told in docs/adr/0010-broker-engine.md. Only public names of amqtt
are used and overridden; ``tests/unit/broker/test_pinned_engine.py`` holds them and the version.
"""

import asyncio
from typing import Final

from amqtt.adapters import BufferReader, StreamWriterAdapter
from amqtt.broker import Broker
from amqtt.errors import AMQTTError, MQTTError, NoDataError
from amqtt.mqtt.connack import CONNECTION_ACCEPTED, NOT_AUTHORIZED, ConnackPacket
from amqtt.mqtt.packet import CONNECT
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.session import Session

from broker import acl
from broker.acl import Publication
from broker.auth import identity_of
from broker.connection import Connection, will_of
from broker.conversation import Conversation
from broker.frames import read_frame
from broker.logs import get_logger
from broker.ports import Credentials
from broker.retained import WaitingMail
from broker.subscriptions import Subscriptions
from client_sdk.wire.errors import OperationalError, ProtocolError

CONNECT_SECONDS: Final = 10.0
"""Time from the open socket to the end of the login; idle sockets are closed after it."""

CLOSE_SECONDS: Final = 2.0
"""Time for the last bytes to reach a client that is being let go."""

WATCH_SECONDS: Final = 0.5
"""How often credentials and keep-alive times are looked at."""

_AUTH_PLUGIN: Final = "broker.auth.CredentialsPlugin"
_log = get_logger(__name__)


class Engine(Broker):
    """Authenticates, routes and retains for all connections of one broker."""

    def __init__(self, credentials: Credentials, mail: WaitingMail) -> None:
        """Set up on the running loop; sockets come from whoever listens."""
        super().__init__(
            {
                "listeners": {"default": {"type": "external"}},
                "plugins": {_AUTH_PLUGIN: {"credentials": credentials}},
            }
        )
        self.mail = mail
        self.routes: Subscriptions[Connection] = Subscriptions()
        self.connections: dict[str, Connection] = {}
        self._credentials = credentials
        self._revision = credentials.revision()

    async def stream_connected(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        listener_name: str = "default",
    ) -> None:
        """Serve one socket from its CONNECT until it is closed; never raises for its sake."""
        try:
            await self._serve(reader, writer)
        except TimeoutError:
            _log.info("connection dropped", listener=listener_name, reason="no login in time")
        except (ProtocolError, AMQTTError, MQTTError, NoDataError, OSError) as error:
            _log.info("connection dropped", listener=listener_name, reason=type(error).__name__)
        except Exception:  # noqa: BLE001 - one broken connection must not end the others
            _log.exception("a connection failed", listener=listener_name)
        finally:
            await _let_go(writer)

    def publish(self, origin: Connection, publication: Publication) -> bool:
        """Retain or clear and deliver what ``origin`` published, if it may; False if not."""
        if not acl.may_publish(origin.login, publication):
            _log.info("publish refused", login=origin.login, bytes=len(publication.payload))
            return False
        if publication.clears:
            self.mail.clear(publication.topic)
        elif publication.retain:
            self.mail.keep(publication.topic, publication.payload, publication.qos)
        for reader, qos in self.routes.readers_of(publication.topic).items():
            own_clear = publication.clears and reader is origin
            if not own_clear and acl.may_receive(reader.login, publication.topic):
                live = publication._replace(qos=min(qos, publication.qos), retain=False)
                reader.deliver(live)
        return True

    async def watch(self) -> None:
        """Until cancelled, close connections whose credential changed or who fell silent."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                self.check_credentials()
            except OperationalError as error:
                _log.warning("credentials not readable", reason=error.code)
            except Exception:  # noqa: BLE001 - the next round tries again
                _log.exception("credentials not readable")
            now = asyncio.get_running_loop().time()
            for connection in list(self.connections.values()):
                if connection.is_silent(now):
                    connection.close("silent beyond its keep-alive time")

    def check_credentials(self) -> None:
        """Close every connection whose login was revoked or has another secret since."""
        revision = self._credentials.revision()
        if revision == self._revision:
            return
        for connection in list(self.connections.values()):
            if self._credentials.secret_hash(connection.login) != connection.secret_hash:
                connection.will = None
                connection.close("credential revoked")
        self._revision = revision

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(CONNECT_SECONDS):
            session = await self._log_in(reader, writer)
        if session is None:
            return
        connection = self._take_over(session, writer)
        try:
            await Conversation(self, connection, reader).run()
        finally:
            self._forget(connection)

    async def _log_in(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Session | None:
        frame = await read_frame(reader)
        if frame is None or frame.kind != CONNECT:
            return None
        _, session = await BrokerProtocolHandler.init_from_connect(
            BufferReader(frame.prefix + frame.body),
            StreamWriterAdapter(writer),
            self.plugins_manager,
        )
        verdicts = await self.plugins_manager.map_plugin_auth(session=session)
        admitted = bool(verdicts) and all(verdicts.values()) and self._may_leave_will(session)
        code = CONNECTION_ACCEPTED if admitted else NOT_AUTHORIZED
        writer.write(ConnackPacket.build(0, code).to_bytes())
        if not admitted:
            _log.info("login refused")
        return session if admitted else None

    def _may_leave_will(self, session: Session) -> bool:
        will = will_of(session)
        login, secret_hash = identity_of(session)
        still_valid = self._credentials.secret_hash(login) == secret_hash
        return still_valid and (will is None or acl.may_publish(login, will))

    def _take_over(self, session: Session, writer: asyncio.StreamWriter) -> Connection:
        connection = Connection(session, writer)
        older = self.connections.get(connection.login)
        if older is not None:
            older.close("the same login connected again")
            self._forget(older)
        self.connections[connection.login] = connection
        _log.info("connected", login=connection.login)
        return connection

    def _forget(self, connection: Connection) -> None:
        for topic_filter in connection.filters:
            self.routes.remove(topic_filter, connection)
        connection.filters.clear()
        if self.connections.get(connection.login) is connection:
            del self.connections[connection.login]
        will, connection.will = connection.will, None
        if will is not None:
            self.publish(connection, will)


async def _let_go(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await writer.wait_closed()
    except (TimeoutError, OSError):
        writer.transport.abort()
