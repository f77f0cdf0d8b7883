"""Sealed receipts: the first of a quiet conversation at once, then many in one."""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import groupby
from typing import Final

from client_sdk import entropy
from client_sdk.delivery.bell import wait_for
from client_sdk.delivery.clock import now_ms
from client_sdk.delivery.context import Context
from client_sdk.delivery.errors import NotContactError
from client_sdk.delivery.fresh import fresh_envelopes
from client_sdk.delivery.peers import Fetched
from client_sdk.machine.changes import Changes
from client_sdk.machine.errors import IdentityChangedError
from client_sdk.machine.rows import ReceiptDue
from client_sdk.machine.sending import FreshReceipt, plan_receipts, without_session
from client_sdk.stores.errors import StaleSnapshotError, StoreError
from client_sdk.wire.errors import OperationalError, ProtocolError
from client_sdk.wire.ids import DeviceAddress, UserName
from client_sdk.wire.limits import MAX_RECEIPT_IDS

GATHER_SECONDS: Final = 1.0
"""Receipts of a lively conversation are gathered for this long, or until one is full."""

RETRY_SECONDS: Final = 30.0
"""How long receipts wait where the directory had to be asked and was of no help."""

LOOKED_AT: Final = 20 * MAX_RECEIPT_IDS
MAX_IDLE_SECONDS: Final = 60.0

_logger = logging.getLogger(__name__)


class Receipts:
    """The loop that pays what is owed."""

    def __init__(self, context: Context) -> None:
        """Start with every conversation quiet."""
        self._context = context
        self._last_sent: dict[UserName, float] = {}
        self._not_before: dict[UserName, float] = {}

    async def loop(self) -> None:
        """Encrypt due receipts until cancelled."""
        while True:
            ticket = self._context.receipts_bell.ticket()
            waiting = await self._send_due(at_once=False)
            if not waiting:
                await wait_for(ticket, MAX_IDLE_SECONDS)
            else:
                await asyncio.sleep(GATHER_SECONDS / 10)

    async def flush(self) -> None:
        """Encrypt everything that is owed now, gathered or not."""
        await self._send_due(at_once=True)

    async def _send_due(self, *, at_once: bool) -> bool:
        """Send what is due; tell whether some still gather."""
        due = sorted(await self._context.store.receipts_due(LOOKED_AT), key=_conversation)
        gathering = False
        for (user, _), group in groupby(due, key=_conversation):
            if time.monotonic() < self._not_before.get(user, 0.0):
                continue
            owed = list(group)
            while len(owed) >= MAX_RECEIPT_IDS or (owed and (at_once or self._is_due(user, owed))):
                await self._send(user, owed[:MAX_RECEIPT_IDS])
                owed = owed[MAX_RECEIPT_IDS:]
            gathering = gathering or bool(owed)
        return gathering

    def _is_due(self, user: UserName, owed: Sequence[ReceiptDue]) -> bool:
        quiet = time.monotonic() - self._last_sent.get(user, -GATHER_SECONDS) >= GATHER_SECONDS
        oldest = min(one.due_since for one in owed)
        return quiet or now_ms() - oldest >= GATHER_SECONDS * 1000

    async def _send(self, user: UserName, owed: Sequence[ReceiptDue]) -> None:
        """Tell all devices of a user; of one's own, only the one that has sent the copy."""
        if user != self._context.own.user:
            await self._send_to(user, owed, None)
            return
        context = self._context
        senders = await context.store.senders_of(user, [one.message_id for one in owed])
        for device in {senders.get(one.message_id) for one in owed}:
            part = [one for one in owed if senders.get(one.message_id) == device]
            if device is not None and device not in context.own.others:  # it has left: nobody waits
                await context.store.commit(Changes(receipts_sent=tuple(part)))
            else:
                await self._send_to(user, part, device)

    async def _send_to(
        self, user: UserName, owed: Sequence[ReceiptDue], only: DeviceAddress | None
    ) -> None:
        context = self._context
        try:
            fetched = await self._fetch_missing(user, owed)
            async with context.peers.lock(user):
                state = await context.peers.load(user)
                state = context.peers.with_sessions(state, fetched)
                reached = set(state.devices) - set(without_session(state))
                reached &= reached if only is None else {only}
                fresh = FreshReceipt(entropy.draw_message_id(), fresh_envelopes(state, reached))
                moved, changes = plan_receipts(context.own, state, owed, fresh, now_ms())
                await context.peers.commit(moved, changes, moved.devices)
        except IdentityChangedError:
            return  # still owed, until the user is trusted or verified
        except StaleSnapshotError:
            return  # still owed: the next round plans again
        except StoreError:
            raise
        except NotContactError:  # the sender's repeat makes them due again, should that change
            await context.store.commit(Changes(receipts_sent=tuple(owed)))
            return
        except (OperationalError, ProtocolError) as error:
            _logger.info("receipts cannot be sent now: %s", error.code)
            self._not_before[user] = time.monotonic() + RETRY_SECONDS
            return
        self._last_sent[user] = time.monotonic()
        context.publish_bell.ring()

    async def _fetch_missing(self, user: UserName, owed: Sequence[ReceiptDue]) -> Fetched:
        """Fetch what writing to ``user`` needs, and to the very devices that wait for receipts.

        Theirs would never come where another device of the user can be written to.
        """
        peers = self._context.peers
        fetched = await peers.fetch_missing(user)
        lacking = set(without_session(await peers.load(user)))
        lacking -= {one.address for one in fetched.bundles}
        if lacking:
            ids = [one.message_id for one in owed]
            lacking &= set((await self._context.store.senders_of(user, ids)).values())
        bundles = list(fetched.bundles)
        for device in sorted(lacking):
            with suppress(NotContactError):  # it has left the list: nobody waits for a receipt
                bundles.append(await peers.fetch_bundle(device))
        return Fetched(tuple(bundles))


def _conversation(due: ReceiptDue) -> tuple[UserName, bool]:
    return due.user, due.read
