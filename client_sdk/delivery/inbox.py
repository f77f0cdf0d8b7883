"""Envelopes become messages: open, commit, then clear, receipt and tell the app."""

import asyncio
import hashlib
from typing import Final

from client_sdk.core.errors import DuplicateMessageError
from client_sdk.delivery.batch import Step
from client_sdk.delivery.clock import now_ms
from client_sdk.delivery.context import Context
from client_sdk.delivery.drop_log import DropLog
from client_sdk.delivery.fair_queue import FairQueue
from client_sdk.delivery.healing import clear_candidates
from client_sdk.delivery.list_watch import ListWatch
from client_sdk.delivery.senders import SenderLookup
from client_sdk.delivery.unopened import Unopened
from client_sdk.machine.changes import Changes, combine
from client_sdk.machine.devices import is_withdrawn
from client_sdk.machine.errors import ReplayedHandshakeError, UnknownDeviceError
from client_sdk.machine.events import CloneSuspected, Event
from client_sdk.machine.healing import Verdict, candidate, judge
from client_sdk.machine.manager_keys import KEY_KINDS, plan_key_content
from client_sdk.machine.opening import (
    handshake_wanted,
    open_envelope,
    parse_arrived,
    position_of,
    prekeys_named,
    replay_digest,
)
from client_sdk.machine.prekeys import responder_prekeys
from client_sdk.machine.received import Arrived, HandshakeInput, Opened
from client_sdk.machine.receiving import confirmed, confirmed_ids, plan_receive, plan_repeat
from client_sdk.machine.state import based_on
from client_sdk.stores.errors import StaleSnapshotError
from client_sdk.transport.ports import Incoming
from client_sdk.wire import topics
from client_sdk.wire.errors import ProtocolError
from client_sdk.wire.ids import MessageId, UserName, user_of
from client_sdk.wire.topics import InboxTopic

MAX_BATCH: Final = 512
"""Envelopes that are opened and committed in one step."""

MAX_QUEUED_BYTES: Final = 64 * 1024 * 1024
"""Envelopes in memory that are not decided yet; more of them stay on the broker meanwhile."""


class Inbox:
    """The receiving half of one open device."""

    def __init__(self, context: Context) -> None:
        """Start with nothing waiting."""
        self._context = context
        self._queue = FairQueue()
        self._queued_bytes = 0
        self._senders = SenderLookup(context)
        self._lists = ListWatch(context)
        self._drop_log = DropLog()
        self._left_waiting = Unopened()
        self._lost = Unopened()
        self.accepted = 0
        """Envelopes that brought something new, since the start."""

    def put(self, incoming: Incoming) -> None:
        """Take an envelope from the network; empty payloads are one's own clears coming back."""
        size = len(incoming.payload)
        if size and self._queued_bytes + size <= MAX_QUEUED_BYTES:
            self._queued_bytes += size
            self._queue.put(incoming)

    @property
    def idle(self) -> bool:
        """Whether all that came in was decided."""
        return not len(self._queue)

    async def loop(self) -> None:
        """Decide what arrives until cancelled."""
        while True:
            batch = await self._queue.take(MAX_BATCH)
            self._queued_bytes -= sum(len(one.payload) for one in batch)
            async with asyncio.TaskGroup() as group:
                for user, arrived in self._by_user(batch).items():
                    group.create_task(self._receive(user, arrived))

    async def sender_loop(self) -> None:
        """Look up senders that are not known yet, until cancelled; then decide their envelopes."""
        await self._senders.loop(self._put_back, self._clear)

    async def list_loop(self) -> None:
        """Follow device lists of which somebody knows a newer one, until cancelled."""
        await self._lists.loop()

    def _put_back(self, arrived: Arrived, payload: bytes) -> None:
        self.put(Incoming(topics.inbox(*arrived.topic), payload, retained=True))

    def _by_user(self, batch: list[Incoming]) -> dict[UserName, list[tuple[Arrived, bytes]]]:
        users: dict[UserName, list[tuple[Arrived, bytes]]] = {}
        for incoming in batch:
            digest = hashlib.sha256(incoming.payload).digest()
            if self._left_waiting.has(incoming.topic, digest) or self._lost.has(
                incoming.topic, digest
            ):
                continue
            try:
                topic = topics.parse_inbox(incoming.topic)
            except ProtocolError:
                continue
            sender = user_of(topic.sender)
            try:
                arrived = parse_arrived(topic, incoming.payload)
            except ProtocolError as error:
                self._drop_log.dropped(topic.sender, error.code)
                self._clear(topic)
                continue
            if topic.recipient == self._context.own.address != topic.sender:
                users.setdefault(sender, []).append((arrived, incoming.payload))
        return users

    async def _receive(self, user: UserName, batch: list[tuple[Arrived, bytes]]) -> None:
        context = self._context
        if self._senders.refused(user):
            for arrived, _ in batch:
                self._clear(arrived.topic)
            return
        try:
            async with context.peers.lock(user):
                step = await self._decide(user, batch)
                if step.changes != Changes():
                    devices = tuple(step.state.sessions) if step.changes.based_on else ()
                    await context.peers.commit(step.state, step.changes, devices)
        except StaleSnapshotError:
            for arrived, payload in batch:
                self._put_back(arrived, payload)
            return
        for topic in step.clear:
            self._clear(topic)
        self._left_waiting.forget(step.progressed)
        self._left_waiting.add(step.waiting)
        self._lost.add(step.lost)
        clear_candidates(context, step.changes.candidates_gone)
        await self._lists.heard(step.state, step.opened)
        self.accepted += step.new
        context.events.emit(step.events)
        context.receipts_bell.ring()
        if step.changes.candidates or step.changes.resends_due:
            context.healing_bell.ring()
        if step.changes.receipted:
            context.outbox_bell.ring()
            for device in context.full.emptied(one.device for one in step.changes.receipted):
                await context.store.resume(device, now_ms())
                context.publish_bell.ring()
        context.give_account_key(step.key_wishes)
        context.changed_bell.ring()

    async def _decide(self, user: UserName, batch: list[tuple[Arrived, bytes]]) -> Step:
        context, now = self._context, now_ms()
        step = Step(await context.peers.load(user), Changes())
        if step.state.peer.blocked:
            step.clear.extend(arrived.topic for arrived, _ in batch)
            return step
        if is_withdrawn(step.state):  # the policy may have changed again: the directory knows
            self._senders.forget(user)
            kept = self._senders.look_up
            step.clear.extend(one.topic for one, payload in batch if not kept(one, payload))
            return step
        keys = [(one.topic.sender, one.topic.envelope_id) for one, _ in batch]
        before = await context.store.find_opened(keys)
        opened: list[Opened] = []
        seen: set[tuple[InboxTopic, bytes]] = set()
        for arrived, payload in batch:
            if (arrived.topic, arrived.digest) in seen:
                continue
            seen.add((arrived.topic, arrived.digest))
            known = before.get((arrived.topic.sender, arrived.topic.envelope_id))
            if known is not None and known.digest == arrived.digest:
                step.changes = combine(step.changes, plan_repeat(step.state, known, now))
                step.clear.append(arrived.topic)
            elif known is not None:  # a changed copy of what was opened before
                self._drop_log.dropped(arrived.topic.sender, "changed_copy")
                step.clear.append(arrived.topic)
            else:
                opened.extend(await self._open(step, arrived, payload))
        await self._place(step, opened)
        return step

    async def _open(self, step: Step, arrived: Arrived, payload: bytes) -> list[Opened]:
        """Open one envelope into ``step``; an empty list where there is nothing to place."""
        try:
            handshake = await self._handshake(step, arrived)
            step.state, opened = open_envelope(
                self._context.own, step.state, arrived, handshake, now_ms()
            )
        except ProtocolError as error:
            await self._did_not_open(step, arrived, payload, error)
            return []
        step.handshakes.update(one.digest for one in opened.changes.handshakes)
        step.prekeys_spent.update(opened.changes.prekeys_spent)
        return [opened]

    async def _did_not_open(
        self, step: Step, arrived: Arrived, payload: bytes, error: ProtocolError
    ) -> None:
        """Leave it, look its sender up, ask for it again, or drop it; nobody is answered here."""
        sender = arrived.topic.sender
        match judge(step.state, arrived, error):
            case Verdict.WAIT:
                step.waiting.append(arrived)
            case Verdict.LOOK_UP:
                if not self._senders.look_up(arrived, payload):
                    step.clear.append(arrived.topic)
            case Verdict.HEAL:
                step.lost.append(arrived)
                row = candidate(arrived, now_ms())
                step.changes = combine(step.changes, Changes(candidates=(row,)))
                if isinstance(error, DuplicateMessageError) and await self._context.store.is_used(
                    sender, position_of(arrived.envelope)
                ):
                    step.events.append(CloneSuspected(sender))
            case Verdict.DROP:
                self._drop_log.dropped(sender, error.code)
                step.clear.append(arrived.topic)

    async def _handshake(self, step: Step, arrived: Arrived) -> HandshakeInput | None:
        header = handshake_wanted(step.state, arrived)
        if header is None:
            return None
        if step.state.device_list is None:
            raise UnknownDeviceError("the sender is not known yet")
        digest = replay_digest(header.handshake)
        if digest in step.handshakes or await self._context.store.knows_handshake(digest):
            raise ReplayedHandshakeError("a handshake came a second time; it was dropped")
        rows = await self._context.store.load_prekeys(prekeys_named(header.handshake))
        left = {key: row for key, row in rows.items() if key not in step.prekeys_spent}
        return responder_prekeys(header, left)

    async def _place(self, step: Step, opened: list[Opened]) -> None:
        """Decide opened envelopes in the order of their streams, whatever order they came in."""
        opened.sort(key=lambda one: (one.content.stream_id, one.content.sequence))
        ids = [one.content.message_id for one in opened]
        known = await self._context.store.known_messages(step.state.user, ids)
        for one in opened:
            message_id: MessageId = one.content.message_id
            try:
                changes, events = self._plan(step, one, known=message_id in known)
            except ProtocolError as error:
                self._drop_log.dropped(one.arrived.topic.sender, error.code)
                changes = Changes(
                    based_on=based_on(step.state),
                    prekeys_spent=one.changes.prekeys_spent,
                    handshakes=one.changes.handshakes,
                )
                events = ()
            known.add(message_id)
            step.changes = combine(step.changes, changes)
            step.events.extend(events)
            step.clear.append(one.arrived.topic)
            step.progressed.add(one.arrived.topic.sender)
            step.new += 1
            step.opened.append(one)
        if named := confirmed_ids(step.events):
            ours = await self._context.store.sent_to(step.state.user, named)
            step.events = confirmed(step.events, ours)

    def _plan(self, step: Step, one: Opened, *, known: bool) -> tuple[Changes, tuple[Event, ...]]:
        if one.content.kind in KEY_KINDS:
            changes, wanted_by = plan_key_content(self._context.own, step.state, one, now_ms())
            step.key_wishes |= set() if wanted_by is None else {wanted_by}
            return changes, ()
        step.state, changes, events = plan_receive(step.state, one, now_ms(), known=known)
        return changes, events

    def _clear(self, topic: InboxTopic) -> None:
        self._context.clears.put_nowait(topics.inbox(*topic))
