"""Whole devices on a broker in this process: store, engine and all loops, without a network."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from client_sdk import entropy
from client_sdk.delivery.clock import now_ms
from client_sdk.delivery.context import Context, open_context
from client_sdk.delivery.engine import Engine
from client_sdk.delivery.lease import ConnectionLease
from client_sdk.delivery.pace import Pace
from client_sdk.delivery.running import Running
from client_sdk.delivery.upkeep import PREKEY_COUNTER
from client_sdk.machine.changes import Changes
from client_sdk.machine.device import DeviceRecord, load_device
from client_sdk.machine.prekeys import kem_row, x25519_row
from client_sdk.machine.rows import Message, MessageState, PrekeyKind, StateChange
from client_sdk.stores.sqlite import SqliteStore
from client_sdk.wire.ids import MessageId, UserName
from tests.simulation.memory_broker import MemoryBroker
from tests.simulation.small_directory import SmallDirectory
from tests.unit.machine.machine_parties import make_record

QUICK = Pace(
    resend_seconds=(0.5,),
    resync_seconds=(0.5,),
    list_check_seconds=(0.5,),
    full_mailbox_seconds=(0.2,),
)


class Device:
    """One device that an app would hold."""

    def __init__(self, context: Context, running: Running) -> None:
        self.context = context
        self.running = running
        self.taken: list[str | None] = []

    @property
    def user(self) -> UserName:
        return self.context.own.user

    async def send(self, to: UserName, text: str, **fields: int) -> MessageId:
        message = Message(
            message_id=entropy.draw_message_id(),
            conversation=to,
            sender=self.user,
            sender_device=self.context.own.address,
            outgoing=True,
            state=MessageState.QUEUED,
            sent_at=fields.get("sent_at", now_ms()),
            text=text,
            expires_at=fields.get("expires_at"),
        )
        await self.context.store.commit(Changes(messages=(message,)))
        self.context.outbox_bell.ring()
        return message.message_id

    async def state_of(self, message_id: MessageId) -> MessageState:
        stored = await self.context.store.message(message_id)
        assert stored is not None
        return stored.message.state

    async def take(self, count: int) -> list[str | None]:
        """Take messages as an app does until ``count`` were taken in all."""
        while len(self.taken) < count:
            ticket = self.context.changed_bell.ticket()
            self.running.check()
            for one in await self.context.store.ready(64):
                message = one.message
                self.taken.append(message.text)
                done = StateChange(message.message_id, message.sender, MessageState.HANDLED)
                await self.context.store.commit(Changes(states=(done,)))
            if len(self.taken) < count:
                await wait(ticket)
        return self.taken

    async def reaches(self, message_id: MessageId, state: MessageState) -> None:
        while await self.state_of(message_id) is not state:
            ticket = self.context.changed_bell.ticket()
            self.running.check()
            if await self.state_of(message_id) is not state:
                await wait(ticket)


async def wait(ticket: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(0.5):
            await ticket.wait()
    except TimeoutError:
        return


@asynccontextmanager
async def device(
    user: str,
    broker: MemoryBroker,
    directory: SmallDirectory,
    *,
    start: bool = True,
    pace: Pace = QUICK,
    record: DeviceRecord | None = None,
) -> AsyncIterator[Device]:
    """Enrol a new device at ``directory`` with a few prekeys, and run its engine.

    ``record`` is the device where it is not the user's first one.
    """
    own, store = load_device(record or make_record(user)), SqliteStore.in_memory()
    directory.register(own)
    now, first = now_ms(), await store.reserve(PREKEY_COUNTER, 2)
    signed = x25519_row(PrekeyKind.SIGNED, first, entropy.draw_x25519(), now)
    last = kem_row(PrekeyKind.KEM_LAST_RESORT, first + 1, entropy.draw_ml_kem_1024(), now)
    await store.commit(Changes(prekeys=(signed, last)))
    context = open_context(store, own)
    engine = Engine(context, broker, ConnectionLease(None), pace)
    running = Running(context, engine, start=start)
    try:
        yield Device(context, running)
    finally:
        await running.close()
        await store.close()


async def prekeys_ready(directory: SmallDirectory, *devices: Device) -> None:
    """Wait until the directory has something to make sessions with."""
    for one in devices:
        while directory.devices[one.context.own.address].signed is None:
            ticket = one.context.changed_bell.ticket()
            one.running.check()
            await wait(ticket)
