"""What keeps a device well: prekeys, contacts, expiry, pruning."""

import asyncio
import logging
import time
from typing import Final

from client_sdk import entropy
from client_sdk.delivery.clock import certain_ms, now_ms
from client_sdk.delivery.contacts import renew_contacts
from client_sdk.delivery.context import Context
from client_sdk.delivery.errors import NotContactError
from client_sdk.delivery.lifetime import MESSAGE_LIFETIME_MS
from client_sdk.machine.changes import Changes
from client_sdk.machine.device import OwnDevice
from client_sdk.machine.events import Expired
from client_sdk.machine.prekeys import POOL_SIZE, REFILL_BELOW, kem_row, upload, x25519_row
from client_sdk.machine.rows import MessageState, PrekeyKind, PrekeyRow, StateChange
from client_sdk.stores.ports import ClientStore
from client_sdk.wire import topics
from client_sdk.wire.bundle import DAY_MS
from client_sdk.wire.directory import PrekeyCounts, PublishPrekeys
from client_sdk.wire.errors import OperationalError, ProtocolError
from client_sdk.wire.limits import MAX_PREKEY_BATCH

PREKEY_COUNTER: Final = "prekey id"
OPENED_KEPT_MS: Final = 60 * DAY_MS
"""How long a repeated envelope is recognised without opening it."""

MAX_REFILL_DELAY_SECONDS: Final = 5.0
"""A refill waits a random part of this, so that its time tells little about handshakes."""

ROUND_SECONDS: Final = 60.0
CONTACTS_SECONDS: Final = 3600.0
"""How often the contacts are fetched while connected: a narrower policy holds after this long."""

OUTLIVED_BATCH: Final = 500

UNDER_WAY: Final = frozenset({MessageState.QUEUED, MessageState.PLANNED, MessageState.PUBLISHED})

UNANSWERED: Final = (OperationalError, ProtocolError, NotContactError)
"""A directory that is away or answers nonsense is asked again later; the rest goes on."""

NOTHING_NEW: Final = PublishPrekeys(None, None, (), ())

_logger = logging.getLogger(__name__)


class Upkeep:
    """The slow loop of one open device."""

    def __init__(self, context: Context) -> None:
        """Start with nothing asked for."""
        self._context = context
        self._low = asyncio.Event()
        self._contacts_at = time.monotonic()

    def prekeys_low(self) -> None:
        """The directory says that one-time prekeys run low."""
        self._low.set()

    async def prekey_loop(self) -> None:
        """Upload what was made and refill what runs low, until cancelled."""
        counts = await self._try_upload()
        while True:
            if counts is not None and _is_low(counts):
                await self._refill(counts)
            self._low.clear()
            await self._low.wait()
            delay = entropy.draw_bytes(1)[0] / 255 * MAX_REFILL_DELAY_SECONDS
            await asyncio.sleep(delay)
            counts = await self._try_upload()

    async def contacts_once(self) -> None:
        """Fetch the contacts once; a directory that is away leaves the earlier ones."""
        self._contacts_at = time.monotonic()
        try:
            await renew_contacts(self._context)
        except UNANSWERED as error:
            _logger.info("contacts cannot be fetched now: %s", error.code)

    async def expiry_loop(self) -> None:
        """Give up messages whose time is over and forget old traces, until cancelled."""
        while True:
            await self._expire()
            await self._drop_outlived()
            await self._context.store.prune(certain_ms() - OPENED_KEPT_MS)
            age = time.monotonic() - self._contacts_at
            if self._context.directory.attached and age >= CONTACTS_SECONDS:
                await self.contacts_once()
            await asyncio.sleep(ROUND_SECONDS)

    async def _try_upload(self) -> PrekeyCounts | None:
        try:
            return await upload_waiting(self._context)
        except UNANSWERED as error:
            _logger.info("prekeys cannot be uploaded now: %s", error.code)
            return None

    async def _refill(self, counts: PrekeyCounts) -> None:
        try:
            await make_one_time_prekeys(self._context.store, counts)
            await upload_waiting(self._context)
        except UNANSWERED as error:
            _logger.info("prekeys cannot be refilled now: %s", error.code)

    async def _expire(self) -> None:
        context, now = self._context, certain_ms()
        for message in await context.store.overdue(now - MESSAGE_LIFETIME_MS, now):
            # Under the lock it is neither planned nor receipted meanwhile.
            async with context.peers.lock(message.conversation):
                stored = await context.store.message(message.message_id)
                if stored is None or stored.message.state not in UNDER_WAY:
                    continue
                envelopes = await context.store.envelopes_of(message.message_id)
                expired = StateChange(message.message_id, message.sender, MessageState.EXPIRED)
                gone = tuple(one.envelope_id for one in envelopes)
                await context.store.commit(Changes(states=(expired,), envelopes_gone=gone))
            for one in envelopes:
                topic = topics.inbox(one.recipient, context.own.address, one.envelope_id)
                context.clears.put_nowait(topic)
            context.events.emit([Expired(message.message_id, message.conversation)])
            context.changed_bell.ring()

    async def _drop_outlived(self) -> None:
        """Take back what a device has left unread for as long as a message lives."""
        context = self._context
        outlived = await context.store.outlived(certain_ms() - MESSAGE_LIFETIME_MS, OUTLIVED_BATCH)
        if not outlived:
            return
        gone = tuple(one.envelope_id for one in outlived)
        await context.store.commit(Changes(envelopes_gone=gone))
        for one in outlived:
            topic = topics.inbox(one.recipient, context.own.address, one.envelope_id)
            context.clears.put_nowait(topic)
        context.outbox_bell.ring()


async def upload_waiting(context: Context) -> PrekeyCounts:
    """Upload every prekey that the directory does not have yet, in batches that may repeat.

    Raises:
        DirectoryUnavailableError: No answer; what is not marked is uploaded the next time.
    """
    while True:
        batch = await _next_batch(context.store)
        counts = await _publish(context, context.own, batch)
        if not batch:
            return counts
        await context.store.commit(
            Changes(prekeys_uploaded=tuple((row.kind, row.id) for row in batch))
        )


async def make_first_prekeys(store: ClientStore) -> None:
    """Make a new device's prekeys, unless they were made before."""
    if not await store.medium_term_prekeys():
        await make_one_time_prekeys(store, PrekeyCounts(0, 0))
        await make_medium_term_prekeys(store, now_ms())


async def make_medium_term_prekeys(store: ClientStore, now: int) -> None:
    """Make a signed and a last-resort prekey; ``now`` in ms since 1970."""
    first = await store.reserve(PREKEY_COUNTER, 2)
    rows = (
        x25519_row(PrekeyKind.SIGNED, first, entropy.draw_x25519(), now),
        kem_row(PrekeyKind.KEM_LAST_RESORT, first + 1, entropy.draw_ml_kem_1024(), now),
    )
    await store.commit(Changes(prekeys=rows))


async def make_one_time_prekeys(store: ClientStore, counts: PrekeyCounts) -> None:
    """Make as many one-time prekeys of each kind as a full pool lacks."""
    x25519 = max(POOL_SIZE - counts.one_time_prekeys, 0)
    kem = max(POOL_SIZE - counts.kem_prekeys, 0)
    now, first = now_ms(), await store.reserve(PREKEY_COUNTER, x25519 + kem)
    rows = [
        x25519_row(PrekeyKind.ONE_TIME, first + i, entropy.draw_x25519(), now)
        for i in range(x25519)
    ]
    rows += [
        kem_row(PrekeyKind.KEM_ONE_TIME, first + x25519 + i, entropy.draw_ml_kem_1024(), now)
        for i in range(kem)
    ]
    await store.commit(Changes(prekeys=tuple(rows)))


async def _next_batch(store: ClientStore) -> list[PrekeyRow]:
    batch: list[PrekeyRow] = []
    for kind, limit in (
        (PrekeyKind.SIGNED, 1),
        (PrekeyKind.KEM_LAST_RESORT, 1),
        (PrekeyKind.ONE_TIME, MAX_PREKEY_BATCH),
        (PrekeyKind.KEM_ONE_TIME, MAX_PREKEY_BATCH),
    ):
        batch += await store.waiting_prekeys(kind, limit)
    return batch


async def _publish(context: Context, own: OwnDevice, batch: list[PrekeyRow]) -> PrekeyCounts:
    prekeys = upload(own.signing, own.address, batch) if batch else NOTHING_NEW
    return await context.directory.publish_prekeys(prekeys)


def _is_low(counts: PrekeyCounts) -> bool:
    return min(counts.one_time_prekeys, counts.kem_prekeys) < REFILL_BELOW
