"""Queued messages become envelopes; envelopes are published until they are receipted."""

import asyncio
import logging
import time
from typing import Final

from client_sdk.core.errors import StaleBundleError
from client_sdk.delivery.bell import wait_for
from client_sdk.delivery.clock import now_ms
from client_sdk.delivery.context import Context
from client_sdk.delivery.errors import (
    DirectoryRefusedError,
    DirectoryUnavailableError,
    NotContactError,
    RateLimitedError,
)
from client_sdk.delivery.fresh import fresh_envelopes
from client_sdk.delivery.pace import Pace, step
from client_sdk.machine.changes import Changes, combine
from client_sdk.machine.errors import IdentityChangedError, NoSessionError
from client_sdk.machine.events import Failed, MailboxFull, RecipientInactive
from client_sdk.machine.rows import Message, MessageState, OutboxEnvelope, StateChange
from client_sdk.machine.sending import plan_message, writable
from client_sdk.machine.state import PeerState, based_on
from client_sdk.stores.errors import StaleSnapshotError
from client_sdk.stores.ports import Backlog, ClientStore, PublishedMark
from client_sdk.transport.ports import Connection
from client_sdk.wire import topics
from client_sdk.wire.errors import ProtocolError
from client_sdk.wire.ids import DeviceAddress, UserName

MAX_UNRECEIPTED_ENVELOPES: Final = 500
"""Envelopes for one recipient device that lie on the broker; the rest waits in the store."""

MAX_UNRECEIPTED_BYTES: Final = 8 * 1024 * 1024
"""The same in bytes."""

PLAN_BATCH: Final = 64
"""Messages that are encrypted and committed in one step."""

PUBLISH_WINDOW: Final = 100
"""Envelopes published before their acknowledgements are waited for."""

MAX_IDLE_SECONDS: Final = 60.0
RETRY_SECONDS: Final = 30.0
RATE_LIMIT_RETRY_SECONDS: Final = 120.0
DISTRUST_RETRY_SECONDS: Final = 3600.0
INACTIVE_RETRY_SECONDS: Final = 24 * 3600.0

_logger = logging.getLogger(__name__)


class Outbox:
    """The sending half of one open device."""

    def __init__(self, context: Context, pace: Pace) -> None:
        """Start with no user held back."""
        self._context = context
        self._full_mailbox_seconds = pace.full_mailbox_seconds
        self._resend_seconds = pace.resend_seconds
        self._not_before: dict[UserName, float] = {}
        self.rounds_begun = 0
        """How often queued messages were looked through."""
        self.rounds_done = 0

    async def plan_loop(self) -> None:
        """Turn queued messages into envelopes until cancelled."""
        while True:
            ticket = self._context.outbox_bell.ticket()
            self.rounds_begun += 1
            for user in await self._context.store.users_with_queued():
                if time.monotonic() >= self._not_before.get(user, 0.0):
                    await self._plan_user(user)
            self.rounds_done = self.rounds_begun
            await wait_for(ticket, self._next_try())

    async def publish_loop(self, connection: Connection) -> None:
        """Publish due envelopes until cancelled; all of them are due at the start."""
        store = self._context.store
        await store.publish_again(now_ms())
        while True:
            ticket = self._context.publish_bell.ticket()
            due = await store.due_envelopes(now_ms(), PUBLISH_WINDOW)
            if due:
                await self._publish(connection, due)
                continue
            next_at = await store.next_envelope_at()
            idle = MAX_IDLE_SECONDS if next_at is None else (next_at - now_ms()) / 1000
            await wait_for(ticket, min(max(idle, 0.01), MAX_IDLE_SECONDS))

    async def submit(self, message: Message) -> None:
        """Commit a new message: with its envelopes where there is a session and nothing before it.

        Raises:
            StoreError: Nothing was queued.
        """
        context = self._context
        lock = context.peers.lock(message.conversation)
        if not lock.locked():  # otherwise others are under way: they are encrypted in one batch
            async with lock:
                if await self._submit_planned(message):
                    context.publish_bell.ring()
                    return
        await context.store.commit(Changes(messages=(message,)))
        context.outbox_bell.ring()

    async def _submit_planned(self, message: Message) -> bool:
        context, user = self._context, message.conversation
        state = await context.peers.load(user)
        if state.is_held or state.peer.equivocation or await context.store.queued(user, 1):
            return False
        room = await self._room(state)
        if not room:
            return False
        moved, changes = self._encrypt(state, [message], room)
        if not changes.planned:
            return False
        try:
            both = combine(Changes(messages=(message,)), changes)
            await context.peers.commit(moved, both, tuple(room))
        except StaleSnapshotError:
            return False
        if changes.late:
            context.outbox_bell.ring()
        return True

    def retry_now(self) -> None:
        """Forget who was held back because the directory was away: it may be back."""
        self._not_before.clear()

    def _next_try(self) -> float:
        now = time.monotonic()
        waits = [at - now for at in self._not_before.values() if at > now]
        return min([MAX_IDLE_SECONDS, *waits]) + 0.01

    async def _publish(self, connection: Connection, due: list[OutboxEnvelope]) -> None:
        sender, full = self._context.own.address, self._context.full
        publishing: list[asyncio.Task[None]] = []
        try:
            async with asyncio.TaskGroup() as group:
                for one in due:
                    topic = topics.inbox(one.recipient, sender, one.envelope_id)
                    task = group.create_task(connection.publish(topic, one.payload, retain=True))
                    full.watch(one.envelope_id, task)
                    publishing.append(task)
        finally:
            full.forget()
        outcomes = list(zip(due, publishing, strict=True))
        taken = [one for one, task in outcomes if not task.cancelled()]
        now = now_ms()
        await self._context.store.mark_published(
            [PublishedMark(one.envelope_id, now + self._resend_ms(one.attempts)) for one in taken]
        )
        full.taken(one.recipient for one in taken)
        for recipient in {one.recipient for one, task in outcomes if task.cancelled()}:
            delay = full.refused(recipient, self._full_mailbox_seconds)
            await self._context.store.postpone(recipient, now + round(delay * 1000))
            self._context.events.emit([MailboxFull(recipient, delay)])
        self._context.changed_bell.ring()

    async def _plan_user(self, user: UserName) -> None:
        try:
            while await self._plan_batch(user):
                pass
        except StaleSnapshotError:
            self._context.outbox_bell.ring()
        except NotContactError:
            await self._fail_all(user)
        except StaleBundleError:
            self._context.events.emit([RecipientInactive(user)])
            self._hold_back(user, INACTIVE_RETRY_SECONDS)
        except (DirectoryUnavailableError, DirectoryRefusedError, NoSessionError):
            self._hold_back(user, RETRY_SECONDS)
        except RateLimitedError:
            self._hold_back(user, RATE_LIMIT_RETRY_SECONDS)
        except IdentityChangedError:
            self._context.held.add(user)  # what is queued waits for trust or verify
        except ProtocolError as error:
            _logger.warning("the directory's keys of a user were refused: %s", error.code)
            self._hold_back(user, DISTRUST_RETRY_SECONDS)

    async def _plan_batch(self, user: UserName) -> bool:
        """Encrypt one batch; tell whether there may be more to do at once."""
        context = self._context
        known = await context.peers.load(user)
        if known.devices and not any([await room_for(context.store, d) for d in known.devices]):
            return False  # no bundle is fetched for what has to wait anyway
        fetched = await context.peers.fetch_missing(user)
        async with context.peers.lock(user):
            state = context.peers.with_sessions(await context.peers.load(user), fetched)
            room = await self._room(state)
            if not room:
                return False
            most = max(one.envelopes for one in room.values())
            messages = await context.store.queued(user, min(most, PLAN_BATCH))
            moved, changes = self._encrypt(state, messages, room)
            if not changes.planned:
                return False
            await context.peers.commit(moved, changes, tuple(room))
            context.publish_bell.ring()
            context.changed_bell.ring()
            if changes.late:
                context.outbox_bell.ring()
            return len(changes.planned) == PLAN_BATCH

    def _encrypt(
        self, state: PeerState, messages: list[Message], room: dict[DeviceAddress, Backlog]
    ) -> tuple[PeerState, Changes]:
        """Plan messages for every device that has room, as long as one has; others come later."""
        changes = Changes(based_on=based_on(state))
        left = dict(room)
        for message in messages:
            fresh = fresh_envelopes(state, left)
            moved, planned = plan_message(self._context.own, state, message, fresh, now_ms())
            fits = {
                one.recipient: Backlog(
                    left[one.recipient].envelopes - 1,
                    left[one.recipient].size - len(one.payload),
                )
                for one in planned.envelopes
            }
            left = {device: one for device, one in fits.items() if min(one) >= 0}
            if not left:
                break
            if len(left) < len(fits):  # who has no room gets this one later, and all after it
                moved, planned = plan_message(
                    self._context.own,
                    state,
                    message,
                    {device: fresh[device] for device in left},
                    now_ms(),
                )
            state, changes = moved, combine(changes, planned)
        return state, combine(changes, Changes(peers=(state.peer,)))

    async def _room(self, state: PeerState) -> dict[DeviceAddress, Backlog]:
        """Return the devices that can be written to now, with how much more may lie for each."""
        found: dict[DeviceAddress, Backlog] = {}
        for device in writable(state):
            backlog = await self._context.store.backlog(device)
            left = Backlog(
                MAX_UNRECEIPTED_ENVELOPES - backlog.envelopes, MAX_UNRECEIPTED_BYTES - backlog.size
            )
            if left.envelopes > 0:
                found[device] = left
        return found

    async def _fail_all(self, user: UserName) -> None:
        context = self._context
        messages: list[Message] = await context.store.queued(user, PLAN_BATCH)
        while messages:
            changes = tuple(
                StateChange(one.message_id, one.sender, MessageState.FAILED) for one in messages
            )
            await context.store.commit(Changes(states=changes))
            context.events.emit(Failed(one.message_id, user, "not_contact") for one in messages)
            messages = await context.store.queued(user, PLAN_BATCH)
        context.changed_bell.ring()

    def _hold_back(self, user: UserName, seconds: float) -> None:
        self._not_before[user] = time.monotonic() + seconds

    def _resend_ms(self, attempts: int) -> int:
        return round(step(self._resend_seconds, attempts) * 1000)


async def room_for(store: ClientStore, device: DeviceAddress) -> int:
    """Return how many more envelopes may lie on the broker for a device."""
    backlog = await store.backlog(device)
    if backlog.size >= MAX_UNRECEIPTED_BYTES:
        return 0
    return max(MAX_UNRECEIPTED_ENVELOPES - backlog.envelopes, 0)
