"""Devices that could not get a message at once get it here, and one's own devices their copies."""

import logging
import time
from typing import Final

from client_sdk.core.errors import StaleBundleError
from client_sdk.delivery.bell import wait_for
from client_sdk.delivery.clock import now_ms
from client_sdk.delivery.context import Context
from client_sdk.delivery.errors import NotContactError, RateLimitedError
from client_sdk.delivery.fresh import fresh_envelopes
from client_sdk.delivery.lifetime import MESSAGE_LIFETIME_MS
from client_sdk.delivery.outbox import (
    INACTIVE_RETRY_SECONDS,
    MAX_IDLE_SECONDS,
    PLAN_BATCH,
    RATE_LIMIT_RETRY_SECONDS,
    RETRY_SECONDS,
    room_for,
)
from client_sdk.delivery.peers import Fetched
from client_sdk.machine.changes import Changes, combine
from client_sdk.machine.errors import NoSessionError
from client_sdk.machine.late import LateMessage, plan_late
from client_sdk.machine.rows import MessageState
from client_sdk.machine.sending import without_session
from client_sdk.machine.state import PeerState, based_on
from client_sdk.stores.errors import StaleSnapshotError, StoreError
from client_sdk.wire.errors import OperationalError, ProtocolError
from client_sdk.wire.ids import DeviceAddress, UserName

NEW_DEVICE_SECONDS: Final = (1.0, 2.0, 5.0, 10.0)
"""How soon a device is asked for again that has not published its prekeys yet."""

GONE: Final = frozenset({MessageState.FAILED, MessageState.EXPIRED})

_logger = logging.getLogger(__name__)


class LateLoop:
    """Works off what devices are still to get, each at its own pace."""

    def __init__(self, context: Context) -> None:
        """Start with no device held back."""
        self._context = context
        self._not_before: dict[DeviceAddress, float] = {}
        self._tries: dict[DeviceAddress, int] = {}

    async def loop(self) -> None:
        """Encrypt late messages until cancelled."""
        while True:
            ticket = self._context.outbox_bell.ticket()
            for user in await self._context.store.users_with_late():
                await self._user(user)
            await wait_for(ticket, self._next_try())

    def retry_now(self) -> None:
        """Forget who was held back because the directory was away: it may be back."""
        self._not_before.clear()

    async def _user(self, user: UserName) -> None:
        state = await self._context.peers.load(user)
        if state.peer.equivocation or state.is_held:
            return
        for device in sorted(state.late):
            if time.monotonic() < self._not_before.get(device, 0.0):
                continue
            try:
                while await self._device(user, device):
                    pass
            except StaleSnapshotError:
                self._context.outbox_bell.ring()
            except StoreError:
                raise
            except (OperationalError, ProtocolError, NotContactError) as error:
                self._hold_back(device, error)
            else:
                self._tries.pop(device, None)

    async def _device(self, user: UserName, device: DeviceAddress) -> bool:
        """Encrypt one batch for a device; tell whether there may be more to do at once."""
        context = self._context
        state = await context.peers.load(user)
        fetched = Fetched(())
        if device in without_session(state) and await room_for(context.store, device):
            fetched = Fetched((await context.peers.fetch_bundle(device),))
        async with context.peers.lock(user):
            state = await context.peers.load(user)
            if device not in state.devices:
                return False
            state = context.peers.with_sessions(state, fetched)
            room = await room_for(context.store, device)
            waiting = await context.store.late(device, min(room, PLAN_BATCH))
            moved, changes = self._encrypt(state, device, waiting)
            if not waiting:
                return False
            await context.peers.commit(moved, changes, (device,))
        context.publish_bell.ring()
        if len(waiting) < PLAN_BATCH:
            context.outbox_bell.ring()  # what came meanwhile may go to this device directly
        return len(waiting) == PLAN_BATCH

    def _encrypt(
        self, state: PeerState, device: DeviceAddress, waiting: list[LateMessage]
    ) -> tuple[PeerState, Changes]:
        own, now = self._context.own, now_ms()
        changes = Changes(based_on=based_on(state))
        for one in waiting:
            expires_at = one.message.expires_at or now + 1
            ends_at = min(expires_at, one.message.sent_at + MESSAGE_LIFETIME_MS)
            if one.message.state in GONE or ends_at <= now:
                changes = combine(changes, Changes(late_done=(one.late,)))
                continue
            state, step = plan_late(own, state, one, fresh_envelopes(state, (device,)), now)
            changes = combine(changes, step)
        return state, changes

    def _hold_back(self, device: DeviceAddress, error: Exception) -> None:
        tries = self._tries.get(device, 0)
        self._tries[device] = tries + 1
        seconds = RETRY_SECONDS
        if isinstance(error, StaleBundleError | NotContactError):
            seconds = INACTIVE_RETRY_SECONDS
        elif isinstance(error, RateLimitedError):
            seconds = RATE_LIMIT_RETRY_SECONDS
        elif isinstance(error, OperationalError | NoSessionError):
            seconds = NEW_DEVICE_SECONDS[tries] if tries < len(NEW_DEVICE_SECONDS) else seconds
        _logger.info("a device cannot be written to now: %s", getattr(error, "code", "unknown"))
        self._not_before[device] = time.monotonic() + seconds

    def _next_try(self) -> float:
        now = time.monotonic()
        waits = [at - now for at in self._not_before.values() if at > now]
        return min([MAX_IDLE_SECONDS, *waits]) + 0.01
