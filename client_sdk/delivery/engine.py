"""One open device at work: hold the lease, connect, run the loops, connect again."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from client_sdk import entropy
from client_sdk.delivery.bell import wait_for
from client_sdk.delivery.clock import now_ms
from client_sdk.delivery.context import Context
from client_sdk.delivery.gaps import gap_loop
from client_sdk.delivery.guard import Guard
from client_sdk.delivery.healing import Healing
from client_sdk.delivery.identity import release_loop
from client_sdk.delivery.inbox import Inbox
from client_sdk.delivery.late import LateLoop
from client_sdk.delivery.lease import ConnectionLease
from client_sdk.delivery.list_checks import list_check_loop
from client_sdk.delivery.manager_keys import ManagerKeys
from client_sdk.delivery.outbox import Outbox
from client_sdk.delivery.pace import Pace, step
from client_sdk.delivery.receipts import Receipts
from client_sdk.delivery.rotation import rotation_loop
from client_sdk.delivery.upkeep import Upkeep
from client_sdk.machine.changes import Changes
from client_sdk.machine.events import LoginInUse, LoginRefused
from client_sdk.machine.rows import Message
from client_sdk.transport.backoff import reconnect_delay
from client_sdk.transport.errors import (
    BrokerSilentError,
    ConnectionLostError,
    LoginRefusedError,
    TransportError,
)
from client_sdk.transport.ports import Connection, Incoming, Transport
from client_sdk.wire import topics
from client_sdk.wire.errors import ProtocolError

WATCH_SECONDS: Final = 0.1
"""How soon what another process wrote to the same store is noticed."""

CLEAR_WINDOW: Final = 200
FULL_PAGE: Final = 500
"""A pass that brought this much may have been cut by the broker: ask again at once."""

MAX_SETTLE_SECONDS: Final = 30.0

SHORT_CONNECTION_SECONDS: Final = 10.0
SHORT_CONNECTIONS: Final = 2
"""This many connections in a row that ended so soon: another program uses the login."""

LOGIN_IN_USE_SECONDS: Final = (60.0, 120.0, 300.0, 600.0)
LOGIN_REFUSED_SECONDS: Final = (1.0, 5.0, 15.0, 60.0)
DEFAULT_PACE: Final = Pace()

_logger = logging.getLogger(__name__)


class Engine:
    """Runs a device until cancelled; everything it does is committed before it is done."""

    def __init__(
        self,
        context: Context,
        transport: Transport,
        lease: ConnectionLease,
        pace: Pace = DEFAULT_PACE,
    ) -> None:
        """Prepare; nothing runs yet."""
        self._pace = pace
        self._context = context
        self._transport = transport
        self._lease = lease
        self._inbox = Inbox(context)
        self._outbox = Outbox(context, pace)
        self._upkeep = Upkeep(context)
        self._healing = Healing(context, pace.ask_again_seconds)
        self.guard = Guard(context, lease)
        self._late = LateLoop(context)
        self._manager_keys = ManagerKeys(context)
        self._clearing = False
        self._was_up = False
        self._planned_in_round = 0
        self.receipts = Receipts(context)
        self.last_error: TransportError | None = None
        """Why there is no connection now; None while there is one."""

    @property
    def connected(self) -> bool:
        """Whether a connection is there."""
        return self._context.directory.attached

    @property
    def leading(self) -> bool:
        """Whether this process is the one that may connect and hand over messages."""
        return self._lease.held

    async def submit(self, message: Message) -> None:
        """Commit a new message; one that this process may publish leaves at once.

        Raises:
            StoreError: Nothing was queued.
        """
        if self.leading and self.guard.checked:
            await self._outbox.submit(message)
        else:
            await self._context.store.commit(Changes(messages=(message,)))
            self._planned_in_round = self._outbox.rounds_begun + 1
            self._context.outbox_bell.ring()

    @property
    def clears_done(self) -> bool:
        """Whether every topic that was to be cleared is cleared."""
        return self._context.clears.empty() and not self._clearing

    async def anything_due(self) -> bool:
        """Tell whether envelopes wait to be published now, or messages for the guard's leave."""
        if self.leading and self._outbox.rounds_done < self._planned_in_round:
            return True
        return bool(await self._context.store.due_envelopes(now_ms(), 1))

    async def run(self) -> None:
        """Work until cancelled.

        Raises:
            StoreError: The store failed; what was not committed was not done.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch())
            await self._take_lease()
            await self.guard.begin()
            group.create_task(gap_loop(self._context))
            group.create_task(self._upkeep.expiry_loop())
            await self._keep_connected()

    async def _take_lease(self) -> None:
        while not self._lease.acquire():  # noqa: ASYNC110 - another process's lock rings no bell
            await asyncio.sleep(WATCH_SECONDS)
        await self._context.peers.reload_own()
        self._context.changed_bell.ring()

    async def _watch(self) -> None:
        """Wake everybody when another process has written to the store."""
        version = await self._context.store.version()
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            newest = await self._context.store.version()
            if newest != version:
                version = newest
                self._context.ring_all()

    async def _keep_connected(self) -> None:
        failures = refusals = short = 0
        while True:
            began = time.monotonic()
            try:
                await self._connect_once()
            except* LoginRefusedError as group:
                self.last_error = _first(group, self.last_error)
                delay = step(LOGIN_REFUSED_SECONDS, refusals)
                refusals, short = refusals + 1, 0
                self._context.events.emit([LoginRefused(delay)])
            except* TransportError as group:
                self.last_error = _first(group, self.last_error)
                refusals = 0
                lived, was_up = time.monotonic() - began, self._was_up
                # A cluster that lost a node ends connections too, but not in the midst of its work.
                pushed = was_up and not isinstance(self.last_error, BrokerSilentError)
                short = short + 1 if pushed and lived < SHORT_CONNECTION_SECONDS else 0
                failures = 0 if was_up else failures + 1
                delay = reconnect_delay(failures, entropy.draw_bytes(1)[0] / 255)
                if short >= SHORT_CONNECTIONS:
                    delay = step(LOGIN_IN_USE_SECONDS, short - SHORT_CONNECTIONS)
                    self._context.events.emit([LoginInUse(delay)])
            self._context.changed_bell.ring()
            await asyncio.sleep(delay)

    async def _connect_once(self) -> None:
        self._was_up = False
        async with self._transport.connect() as connection:
            self._was_up = True
            self.last_error = None
            try:
                await self._serve(connection)
            finally:
                self._context.directory.attach(None)

    async def _serve(self, connection: Connection) -> None:
        address = self._context.own.address
        async with asyncio.TaskGroup() as group:
            group.create_task(self._receive(connection))
            await connection.subscribe(
                topics.reply_filter(address),
                topics.event_filter(address),
                topics.inbox_filter(address),
                topics.notice_filter(address),
            )
            self._context.directory.attach(connection)
            self._context.changed_bell.ring()
            await self.guard.check()
            self._outbox.retry_now()
            self._late.retry_now()
            for loop in (
                self._inbox.loop(),
                self._inbox.sender_loop(),
                self._inbox.list_loop(),
                self._outbox.plan_loop(),
                self._late.loop(),
                self._outbox.publish_loop(connection),
                self._clear(connection),
                self._resync(connection),
                self.receipts.loop(),
                self._healing.loop(),
                self._manager_keys.loop(),
                self.guard.loop(),
                self._upkeep.prekey_loop(),
                self._upkeep.contacts_once(),
                rotation_loop(self._context),
                list_check_loop(self._context, self._pace.list_check_seconds),
                release_loop(self._context),
            ):
                group.create_task(loop)

    async def _receive(self, connection: Connection) -> None:
        address = self._context.own.address
        routes: tuple[tuple[str, Callable[[Incoming], None]], ...] = (
            (topics.inbox_prefix(address), self._inbox.put),
            (topics.event_prefix(address), self._directory_event),
            (topics.notice_prefix(address), self._context.full.receive),
            (topics.reply_prefix(address), self._context.directory.receive),
        )
        async for incoming in connection.incoming():
            for prefix, take in routes:
                if incoming.topic.startswith(prefix):
                    take(incoming)
                    break
        raise ConnectionLostError("the connection to the broker ended")

    def _directory_event(self, incoming: Incoming) -> None:
        if not incoming.payload:
            return
        try:
            event = self._context.directory.verified_event(incoming)
        except ProtocolError:
            event = None
        if event is not None:
            self._upkeep.prekeys_low()
        self._context.clears.put_nowait(incoming.topic)

    async def _clear(self, connection: Connection) -> None:
        clears = self._context.clears
        while True:
            waiting = [await clears.get()]
            while len(waiting) < CLEAR_WINDOW and not clears.empty():
                waiting.append(clears.get_nowait())
            self._clearing = True
            try:
                async with asyncio.TaskGroup() as group:
                    for topic in waiting:
                        group.create_task(connection.publish(topic, b"", retain=True))
            finally:
                self._clearing = False

    async def _resync(self, connection: Connection) -> None:
        """Subscribe again and again: every broker hands over a partial set in some case."""
        address = self._context.own.address
        passes = 0
        accepted = self._inbox.accepted
        ticket = self._context.resync_bell.ticket()
        while True:
            await wait_for(ticket, step(self._pace.resync_seconds, passes))
            ticket = self._context.resync_bell.ticket()
            passes += 1
            brought, accepted = self._inbox.accepted - accepted, self._inbox.accepted
            while True:
                await connection.subscribe(
                    topics.inbox_filter(address), topics.event_filter(address)
                )
                if brought < FULL_PAGE:
                    break
                await self._settle()
                brought, accepted = self._inbox.accepted - accepted, self._inbox.accepted

    async def _settle(self) -> None:
        """Wait until what came in was decided, but not for ever: others go on writing."""
        for _ in range(round(MAX_SETTLE_SECONDS / WATCH_SECONDS)):
            await asyncio.sleep(WATCH_SECONDS)
            if self._inbox.idle:
                return


def _first(group: BaseExceptionGroup, fallback: TransportError | None) -> TransportError | None:
    for error in group.exceptions:
        if isinstance(error, TransportError):
            return error
        if isinstance(error, BaseExceptionGroup):
            return _first(error, fallback)
    return fallback
