"""The engine: amqtt's broker with its own connections, routing, storage and access control.

What is replaced, and why, is told in docs/adr/0010-broker-engine.md. Only public names of amqtt
are used; ``tests/unit/broker/test_pinned_engine.py`` holds them and the version.
"""

import asyncio
import secrets
import sqlite3
from collections.abc import Coroutine
from typing import Any, Final

from amqtt.broker import Broker

from broker.access import Access
from broker.acl import Publication
from broker.clients import Clients
from broker.connection import Connection
from broker.conversation import Conversation
from broker.frames import Frame
from broker.limits import BrokerLimits
from broker.link import Link
from broker.login import LoginDesk, accepted
from broker.logs import get_logger
from broker.packets import CONNECT
from broker.ports import Credentials
from broker.quota import refusal
from broker.replay import replay
from broker.retained import WaitingMail
from client_sdk.wire import topics
from client_sdk.wire.codec import encode
from client_sdk.wire.errors import InvalidNameError, OperationalError
from client_sdk.wire.ids import RANDOM_ID_BYTES, NoticeId, parse_address, random_id
from client_sdk.wire.notice import NoticeReason, notice

WATCH_SECONDS: Final = 0.5
"""How often credentials, keep-alive times and unfinished logins are looked at."""

EXPIRY_SECONDS: Final = 3600.0
"""How often waiting mail is looked through for what is too old."""

_DISK: Final = "the disk"
_log = get_logger(__name__)


class Engine(Broker):
    """Authenticates, routes and retains for all connections of one broker."""

    def __init__(
        self,
        credentials: Credentials,
        mail: WaitingMail,
        limits: BrokerLimits,
        access: Access,
        auth_plugin: str,
    ) -> None:
        """Set up on the running loop; sockets come from whoever listens."""
        super().__init__(
            {
                "listeners": {"default": {"type": "external"}},
                "plugins": {auth_plugin: {"credentials": credentials}},
            }
        )
        self.mail = mail
        self.limits = limits
        self.access = access
        self.statistics = mail.statistics
        self.clients = Clients(limits, self.statistics, self.publish)
        self.routes = self.clients.routes
        self.links: dict[Link, Connection | None] = {}
        """Every open socket, the oldest first; None before its login."""
        self._waiting_logins: dict[Link, None] = {}
        self._awaiting_commit: set[Connection] = set()
        self._behind: set[Link] = set()
        self._credentials = credentials
        self._revision = credentials.revision()
        self._desk = LoginDesk(self.plugins_manager, credentials, access, limits, self.statistics)
        self._group: asyncio.TaskGroup | None = None

    async def run(self, stopping: asyncio.Event) -> None:
        """Serve sockets until ``stopping`` is set; then close all of them."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            chores = [
                group.create_task(self._watch()),
                group.create_task(self._expire()),
                group.create_task(self.mail.write(self._committed)),
            ]
            try:
                await stopping.wait()
            finally:
                for connection in list(self.clients.connections.values()):
                    self.clients.end(connection)
                for link in list(self.links):
                    link.drop("the broker stops")
                for chore in chores:
                    chore.cancel()
                self._group = None

    # What a link asks of its owner

    def new_link(self) -> Link:
        """Return the protocol of a socket that was just accepted."""
        return Link(self, self.limits.max_packet_bytes)

    def opened(self, link: Link) -> None:
        """See ``LinkOwner``."""
        if self._group is None or len(self.links) >= self.limits.max_connections:
            self.statistics.drop("connections")
            link.drop("too many connections")
            return
        if len(self._waiting_logins) >= self.limits.max_waiting_logins:
            self.statistics.drop("waiting logins")
            oldest = next(iter(self._waiting_logins))
            del self._waiting_logins[oldest]
            oldest.drop("too many sockets without a login")
        self.links[link] = None
        self._waiting_logins[link] = None

    def first(self, link: Link, frame: Frame) -> None:
        """See ``LinkOwner``."""
        if frame.kind != CONNECT:
            link.drop("no CONNECT")
        else:
            self._spawn(self._log_in(link, frame.body))

    def lost(self, link: Link) -> None:
        """See ``LinkOwner``."""
        self._waiting_logins.pop(link, None)
        self._behind.discard(link)
        connection = self.links.pop(link, None)
        if connection is not None:
            self.clients.end(connection)
            self._awaiting_commit.discard(connection)

    # What a conversation asks of its router

    def publish(self, origin: str, publication: Publication) -> int | None:
        """Retain or clear and deliver what ``origin`` published, see ``Router``."""
        topic = publication.topic
        if not self.limits.allow_topic(topic) or not self.access.may_publish(origin, publication):
            self.statistics.refuse("publication")
            _log.info("publish refused", login=origin, bytes=len(publication.payload))
            return 0
        batch = 0
        if publication.clears:
            self.mail.clear(topic)
        elif publication.retain:
            size = len(publication.payload)
            reason = refusal(self.mail.index, self.limits, topic, size)
            if reason is not None:
                self._notify(origin, reason, topic)
                return None
            batch = self.mail.keep(topic, publication.payload, publication.qos)
        self.statistics.messages_in += 1
        self._route(origin, publication)
        return batch

    @property
    def newest_batch(self) -> int:
        """See ``Router``."""
        return self.mail.newest

    def published(self, connection: Connection) -> None:
        """See ``Router``."""
        if self.mail.is_behind:
            self._behind.add(connection.link)
            connection.link.pause(_DISK)

    # What a connection asks of its owner

    @property
    def committed(self) -> int:
        """The newest batch of waiting mail on disk."""
        return self.mail.committed

    def await_commit(self, connection: Connection) -> None:
        """See ``ConnectionOwner``."""
        self._awaiting_commit.add(connection)

    def start_replay(self, connection: Connection) -> None:
        """See ``ConnectionOwner``."""
        self._spawn(self._replay(connection))

    def check_credentials(self) -> None:
        """Close every connection whose login was revoked or has another secret since."""
        revision = self._credentials.revision()
        if revision == self._revision:
            return
        self.clients.check(self._credentials)
        self._revision = revision

    def _route(self, origin: str, publication: Publication) -> None:
        topic, clears = publication.topic, publication.clears
        own_clear = clears and topic.startswith(topics.DEVICE_TREES)
        for reader, qos in self.routes.readers_of(topic).items():
            # Who clears mail is not told of it: clients ignore that, and it is half the traffic.
            if own_clear and reader.login == origin:
                continue
            if not self.access.may_receive(reader.login, topic):
                continue
            live = publication._replace(qos=min(qos, publication.qos), retain=False)
            if not reader.deliver(live, waits=publication.retain and not clears):
                self.statistics.drop("slow reader")

    def _notify(self, login: str, reason: NoticeReason, topic: str) -> None:
        self.statistics.refuse(reason.name.lower().replace("_", " "))
        _log.info("message not taken", login=login, reason=reason.name.lower())
        try:
            device = parse_address(login)
        except InvalidNameError:
            return
        number = NoticeId(random_id(secrets.token_bytes(RANDOM_ID_BYTES)))
        told = Publication(
            topics.notice(device, number), encode(notice(reason, topic)), 1, retain=False
        )
        self._route(login, told)

    async def _log_in(self, link: Link, body: bytes) -> None:
        admitted = await self._desk.admit(link, body)
        if admitted is None or link.closed:
            return
        self._waiting_logins.pop(link, None)
        subscriber, present = self.clients.subscriber(admitted)
        connection = self.links[link] = Connection(self, link, subscriber, admitted.identity)
        self.clients.begin(connection, admitted)
        link.send(accepted(session_present=present))
        for packet in subscriber.outbound.again():
            connection.send_message(packet)
        link.logged_in(Conversation(self, connection))
        connection.progress()

    def _committed(self) -> None:
        committed = self.mail.committed
        for connection in list(self._awaiting_commit):
            if not connection.release(committed):
                self._awaiting_commit.discard(connection)
        if self._behind and not self.mail.is_behind:
            for link in self._behind:
                link.resume(_DISK)
            self._behind.clear()

    async def _replay(self, connection: Connection) -> None:
        try:
            await replay(connection, self.mail, self.access)
        except sqlite3.Error as error:
            _log.error("waiting mail not readable", reason=str(error))
            connection.close("waiting mail not readable")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                self.check_credentials()
            except OperationalError as error:
                _log.warning("credentials not readable", reason=error.code)
            except Exception:  # noqa: BLE001 - the next round tries again
                _log.exception("credentials not readable")
            now = asyncio.get_running_loop().time()
            for link in list(self._waiting_logins):
                if now - link.opened_at > self.limits.connect_seconds:
                    self.statistics.drop("no login in time")
                    link.drop("no login in time")
            self.clients.close_silent(now)

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(EXPIRY_SECONDS)
            try:
                await self.mail.expire()
            except sqlite3.Error as error:
                _log.error("waiting mail not looked through", reason=str(error))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        if self._group is None:
            work.close()
        else:
            self._group.create_task(_guarded(work))


async def _guarded(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:  # noqa: BLE001 - one broken connection must not end the others
        _log.exception("a connection failed")
