"""Notices a store that is older than it was, before anything is sent from it."""

import asyncio
import logging
import time
from typing import Final

from client_sdk import entropy
from client_sdk.delivery.clock import now_ms
from client_sdk.delivery.context import Context
from client_sdk.delivery.errors import NotContactError
from client_sdk.delivery.lease import ConnectionLease
from client_sdk.delivery.upkeep import PREKEY_COUNTER, make_medium_term_prekeys, upload_waiting
from client_sdk.machine.changes import Changes
from client_sdk.machine.device import encode_device, load_device
from client_sdk.machine.events import RollbackSource, StoreRolledBack
from client_sdk.machine.rollback import is_rolled_back, plan_fresh_start, with_new_stream
from client_sdk.stores.errors import StaleSnapshotError, StoreError
from client_sdk.stores.healing_rows import COMMIT_OFFSET
from client_sdk.wire.errors import OperationalError, ProtocolError
from client_sdk.wire.healing import OPEN_ID_BYTES, StoreCounters
from client_sdk.wire.ids import UserName

OPENS: Final = "opens"
CHECK_SECONDS: Final = 3.0
"""How long sending waits for the directory at the first connection of an opening."""

REPORT_SECONDS: Final = 3600.0
ASK_AGAIN_SECONDS: Final = 60.0

PREKEY_LEAP: Final = 2**20
"""Prekey numbers left out after a rollback: the newer copy cannot have used so many."""

RANDOM_LEAP_BYTES: Final = 5
"""Up to 2^40 more are left out: one backup may be restored twice, and no number may come back
with another key. Eight million rollbacks fit into the numbers that there are."""

_UNANSWERED: Final = (OperationalError, ProtocolError, NotContactError)
_logger = logging.getLogger(__name__)


class Guard:
    """Counts this opening, reports it, and starts afresh where the store was rolled back."""

    def __init__(self, context: Context, lease: ConnectionLease) -> None:
        """Prepare; nothing is counted yet."""
        self._context = context
        self._lease = lease
        self._opens = 0
        self._open_id = entropy.draw_bytes(OPEN_ID_BYTES)
        self._next_report = 0.0
        self._afresh = False
        self._turn = asyncio.Lock()
        self.checked = False
        """Whether messages may be encrypted: the directory was asked, or does not answer."""

    async def begin(self) -> None:
        """Count this opening; call once, with the lease held."""
        store = self._context.store
        self._opens = await store.reserve(OPENS, 1)
        noted = self._lease.noted_opens()
        if noted >= self._opens:
            await self._start_afresh(RollbackSource.FILE, noted)
        self._lease.note_opens(self._opens)

    async def check(self) -> None:
        """Ask the directory at the first connection, for ``CHECK_SECONDS`` at most."""
        if not self.checked:
            await self.report(CHECK_SECONDS)
            self.checked = True

    async def loop(self) -> None:
        """Report once an hour, and soon again where there was no answer, until cancelled."""
        while True:
            await asyncio.sleep(max(self._next_report - time.monotonic(), 0))
            await self.report()

    async def report(self, patience: float | None = None) -> None:
        """Report the counters; start afresh where the directory had newer ones.

        Args:
            patience: Seconds to wait for the answer; None waits as for any other request.

        Raises:
            StoreError: The store failed.
        """
        async with self._turn:
            await self._report(patience)

    async def _report(self, patience: float | None) -> None:
        self._next_report = time.monotonic() + ASK_AGAIN_SECONDS
        try:
            mine = await self._counters()
            async with asyncio.timeout(patience):
                before = await self._context.directory.report_counters(mine)
            if before is not None and is_rolled_back(mine, before):
                await self._catch_up(mine, before)
        except StoreError:
            raise
        except (*_UNANSWERED, TimeoutError) as error:
            _logger.info("the store's counters cannot be compared now: %s", type(error).__name__)
        else:
            self._next_report = time.monotonic() + REPORT_SECONDS

    async def _catch_up(self, mine: StoreCounters, before: StoreCounters) -> None:
        context = self._context
        await context.store.raise_counter(COMMIT_OFFSET, before.commits + 1)
        if not self._afresh or before.opens >= mine.opens:
            await self._start_afresh(RollbackSource.DIRECTORY, before.opens)
            self._lease.note_opens(self._opens)
        await context.directory.report_counters(await self._counters())
        await upload_waiting(context)

    async def _counters(self) -> StoreCounters:
        commits = await self._context.store.commit_count()
        return StoreCounters(self._opens, commits, self._open_id)

    async def _start_afresh(self, noticed_by: RollbackSource, opens: int) -> None:
        """Archive everything, then count on; a crash in between is noticed as a rollback again."""
        context, store = self._context, self._context.store
        _logger.info("the store is older than it was: sessions are made anew")
        for user in await store.users():
            async with context.peers.lock(user):
                await self._put_away(user)
        more = int.from_bytes(entropy.draw_bytes(RANDOM_LEAP_BYTES))
        await store.reserve(PREKEY_COUNTER, PREKEY_LEAP + more)
        await make_medium_term_prekeys(store, now_ms())
        async with context.peers.lock(context.own.user):
            record = with_new_stream(context.own.record, entropy.draw_stream_id())
            await store.commit(Changes(device=encode_device(record)))
            context.peers.own = load_device(record)
        await store.raise_counter(OPENS, opens)
        self._opens = await store.reserve(OPENS, 1)
        self._afresh = True
        context.events.emit([StoreRolledBack(noticed_by)])
        context.changed_bell.ring()

    async def _put_away(self, user: UserName) -> None:
        peers = self._context.peers
        while True:
            state = await peers.load(user)
            if not state.sessions and state.peer.next_sequence == 1:
                return
            changed, changes = plan_fresh_start(state, now_ms())
            try:
                await peers.commit(changed, changes, tuple(changed.sessions))
            except StaleSnapshotError:  # another process wrote meanwhile
                continue
            return
