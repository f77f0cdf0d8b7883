"""One device of the model: its real store and every real part of delivery, one step at a time.

Nothing runs by itself: no task, no clock and no network decide what happens next, the test does.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from sqlcipher3 import dbapi2 as sqlcipher

from client_sdk import entropy
from client_sdk.core.session_record import archive_current
from client_sdk.delivery.clock import now_ms
from client_sdk.delivery.context import Context, EventQueue
from client_sdk.delivery.errors import NotContactError
from client_sdk.delivery.gaps import give_up
from client_sdk.delivery.guard import Guard
from client_sdk.delivery.healing import Healing
from client_sdk.delivery.inbox import Inbox
from client_sdk.delivery.late import LateLoop
from client_sdk.delivery.lease import ConnectionLease
from client_sdk.delivery.list_checks import _check as check_list
from client_sdk.delivery.manager_keys import ManagerKeys
from client_sdk.delivery.outbox import Outbox
from client_sdk.delivery.pace import ASK_AGAIN_SECONDS, RESEND_SECONDS, Pace
from client_sdk.delivery.peers import Peers, Told
from client_sdk.delivery.receipts import Receipts
from client_sdk.delivery.upkeep import (
    PREKEY_COUNTER,
    make_medium_term_prekeys,
    upload_waiting,
)
from client_sdk.machine.changes import Changes
from client_sdk.machine.device import DEVICE_RECORD, DeviceRecord, encode_device, load_device
from client_sdk.machine.events import Gap, StoreRolledBack
from client_sdk.machine.manager_keys import plan_key_given
from client_sdk.machine.prekeys import kem_row, x25519_row
from client_sdk.machine.rows import Message, MessageState, PrekeyKind, StateChange
from client_sdk.machine.state import based_on
from client_sdk.machine.streams import GAP_TIMEOUT_MS
from client_sdk.stores.ports import PublishedMark
from client_sdk.stores.sqlite import SqliteStore
from client_sdk.stores.worker import DatabaseWorker
from client_sdk.transport.ports import Incoming
from client_sdk.wire import topics
from client_sdk.wire.errors import OperationalError, ProtocolError
from client_sdk.wire.ids import DeviceAddress, MessageId, UserName
from tests.property.machine.open_directory import Line, OpenDirectory

ALL: Final = 10_000


class Home:
    """One device. ``shown`` is what its app was handed since its store last began."""

    def __init__(self, directory: OpenDirectory, address: DeviceAddress) -> None:
        self.directory, self.address = directory, address
        self.shown: list[str] = []
        self.gaps: list[Gap] = []
        self.rollbacks = 0
        self.store: SqliteStore

    @classmethod
    async def made(cls, directory: OpenDirectory, record: DeviceRecord) -> "Home":
        """Return a new device that the directory lists already."""
        home = cls(directory, record.address)
        home.store = SqliteStore.in_memory()
        await home.store.commit(Changes(device=encode_device(record)))
        await make_medium_term_prekeys(home.store, now_ms())
        await home.open()
        await home.refill()
        return home

    async def open(self) -> None:
        """Begin as a started program does: count the opening, compare it, say what is new."""
        stored = await self.store.device()
        assert stored is not None
        own = load_device(DEVICE_RECORD.decode(stored))
        line: Any = Line(self.directory, self.address)
        events = EventQueue()

        def adopted(adoption: Any) -> None:
            self.context.adopted(adoption)

        peers = Peers(self.store, own, line, Told(adopted, events.emit))
        self.context = Context(self.store, line, peers, events)
        self.inbox = Inbox(self.context)
        self.outbox = Outbox(self.context, Pace())
        self.late = LateLoop(self.context)
        self.healing = Healing(self.context, ASK_AGAIN_SECONDS)
        self.receipts = Receipts(self.context)
        self.manager_keys = ManagerKeys(self.context)
        self.guard = Guard(self.context, ConnectionLease(None))
        await self.guard.begin()
        await self.guard.check()
        await upload_waiting(self.context)
        self.note_events()

    @property
    def user(self) -> UserName:
        return self.context.own.user

    @property
    def database(self) -> Any:
        return self.store._worker._database

    async def refill(self, count: int = 2) -> None:
        """Publish a few one-time prekeys."""
        first, now = await self.store.reserve(PREKEY_COUNTER, 2 * count), now_ms()
        rows = [
            x25519_row(PrekeyKind.ONE_TIME, first + number, entropy.draw_x25519(), now)
            for number in range(count)
        ]
        rows += [
            kem_row(PrekeyKind.KEM_ONE_TIME, first + count + i, entropy.draw_ml_kem_1024(), now)
            for i in range(count)
        ]
        await self.store.commit(Changes(prekeys=tuple(rows)))
        await upload_waiting(self.context)

    async def rotate(self) -> None:
        """Publish new signed and last-resort prekeys; the old private halves stay."""
        await make_medium_term_prekeys(self.store, now_ms())
        await upload_waiting(self.context)

    def exhaust(self) -> None:
        uploads = self.directory.uploads[self.address]
        uploads.one_time.clear()
        uploads.kem.clear()

    async def send(self, to: UserName, text: str) -> MessageId:
        message = Message(
            message_id=entropy.draw_message_id(),
            conversation=to,
            sender=self.user,
            sender_device=self.address,
            outgoing=True,
            state=MessageState.QUEUED,
            sent_at=now_ms(),
            text=text,
        )
        await self.outbox.submit(message)
        return message.message_id

    async def archive(self, user: UserName) -> None:
        """Put all sessions with a user away for no reason."""
        async with self.context.peers.lock(user):
            state = await self.context.peers.load(user)
            sessions = {
                one: archive_current(kept, now_ms()) for one, kept in state.sessions.items()
            }
            moved = replace(state, sessions=sessions)
            changes = Changes(based_on=based_on(state))
            await self.context.peers.commit(moved, changes, tuple(sessions))

    async def initiate(self, device: DeviceAddress, user: UserName) -> bool:
        """Begin a session for no reason, where the device is known and listed."""
        peers = self.context.peers
        if device not in (await peers.load(user)).devices or not self.directory.listed(device):
            return False
        bundle = await peers.fetch_bundle(device)
        async with peers.lock(user):
            state = await peers.load(user)
            if device not in state.devices:
                return False
            moved = peers.with_new_session(state, bundle)
            await peers.commit(moved, Changes(based_on=based_on(state)), (device,))
        return True

    async def work(self) -> None:
        """Do everything that is due: fetch lists, encrypt, heal, receipt."""
        await self.follow_lists()
        for user in await self.store.users_with_queued():
            await self.outbox._plan_user(user)
        for user in await self.store.users_with_late():
            await self.late._user(user)
        await self.healing._answer_all()
        await self.healing._ask_all()
        await self.receipts.flush()
        while self.context.key_wishes:
            await self.manager_keys._send(self.context.key_wishes.pop(), plan_key_given)
        await self.manager_keys._ask()
        self.note_events()

    async def follow_lists(self) -> None:
        while not self.context.stale_lists.empty():
            await self.inbox._lists.next()

    async def time_passes(self) -> None:
        """Let an hour and a reconnection be over: what waits for a time is due."""
        self.outbox.retry_now()
        self.late.retry_now()
        self.receipts._not_before.clear()
        self.manager_keys._next = 0.0
        self.inbox._senders._asked.clear()
        self.inbox._lists._asked.clear()
        await self.store.publish_again(now_ms())
        await self.store._execute("UPDATE candidates SET asked_at = NULL", ())
        await self.store._execute("DELETE FROM paces", ())
        self.context.stale_lists.put_nowait(self.user)
        for user in await self.store.unreceipted_since(now_ms()):
            with suppress(OperationalError, ProtocolError, NotContactError):
                await check_list(self.context, user)

    async def give_up_gaps(self) -> bool:
        """Let the time of waiting for missing messages be over; tell whether any was missing."""
        before = now_ms() + 1
        waiting = {user for user, _ in await self.store.gaps_since(before)}
        await self.store._execute(
            "UPDATE streams SET gap_since = gap_since - ? WHERE gap_since IS NOT NULL",
            (GAP_TIMEOUT_MS + 1,),
        )
        for user in waiting:
            await give_up(self.context, user)
        self.note_events()
        return bool(waiting)

    async def take_due(self) -> list[tuple[DeviceAddress, str, bytes]]:
        """Return what is published now, with its recipient and topic; the broker has it."""
        due = await self.store.due_envelopes(now_ms(), ALL)
        later = now_ms() + round(RESEND_SECONDS[0] * 1000)
        await self.store.mark_published([PublishedMark(one.envelope_id, later) for one in due])
        return [
            (
                one.recipient,
                topics.inbox(one.recipient, self.address, one.envelope_id),
                one.payload,
            )
            for one in due
        ]

    async def receive(self, topic: str, payload: bytes) -> None:
        """Decide one envelope, and look its sender up where that is needed."""
        self.inbox.put(Incoming(topic, payload, retained=True))
        senders = self.inbox._senders
        while not self.inbox.idle or senders.waiting:
            if senders.waiting:
                await senders.next(self.inbox._put_back, self.inbox._clear)
                continue
            for user, arrived in self.inbox._by_user(await self.inbox._queue.take(1)).items():
                await self.inbox._receive(user, arrived)
        self.note_events()

    def cleared(self) -> set[str]:
        """Return the topics that were to be cleared since the last call."""
        found = set()
        while not self.context.clears.empty():
            found.add(self.context.clears.get_nowait())
        return found

    async def read(self, show: Callable[["Home", str, MessageId], None]) -> None:
        """Hand what is ready to the app; copies of one's own other devices stand in the history."""
        for one in await self.store.ready(ALL):
            message = one.message
            assert message.text is not None
            show(self, message.text, message.message_id)
            done = StateChange(message.message_id, message.sender, MessageState.HANDLED)
            await self.store.commit(Changes(states=(done,)))

    async def copies(self) -> list[str]:
        """Return what stands in the history of what one's own other devices have sent."""
        found = await self.store._rows(
            "SELECT text FROM messages WHERE outgoing AND sender_device != ? AND state != 'held'"
            " ORDER BY position",
            (self.address,),
        )
        return [row[0] for row in found]

    def note_events(self) -> None:
        for one in self.context.events._events:
            if isinstance(one, Gap):
                self.gaps.append(one)
            self.rollbacks += isinstance(one, StoreRolledBack)
        self.context.events._events.clear()

    def snapshot(self) -> tuple[Any, list[str]]:
        """Return a backup of the store, and what its app had been shown by then."""
        kept = sqlcipher.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.database.backup(kept)
        return kept, list(self.shown)

    async def restore(self, snapshot: tuple[Any, list[str]]) -> None:
        """Close in good order, then begin again with the backup."""
        await self.guard.report()
        await self.store.close()
        kept, shown = snapshot
        database = sqlcipher.connect(":memory:", isolation_level=None, check_same_thread=False)
        kept.backup(database)
        self.store, self.shown, self.gaps = SqliteStore(DatabaseWorker(database)), list(shown), []
        await self.open()
