"""Managers of one account get its new key from each other, see ``machine.manager_keys``."""

import logging
import time
from collections.abc import Callable
from typing import Final

from client_sdk.delivery.bell import wait_for
from client_sdk.delivery.clock import now_ms
from client_sdk.delivery.context import Context
from client_sdk.delivery.errors import NotContactError
from client_sdk.delivery.fresh import fresh_content
from client_sdk.delivery.pace import step
from client_sdk.machine.changes import Changes
from client_sdk.machine.control import FreshContent
from client_sdk.machine.device import OwnDevice
from client_sdk.machine.manager_keys import (
    lacks_account_key,
    other_managers,
    plan_key_given,
    plan_key_wanted,
)
from client_sdk.machine.sending import without_session
from client_sdk.machine.state import PeerState
from client_sdk.stores.errors import StaleSnapshotError, StoreError
from client_sdk.wire.content import ListMark
from client_sdk.wire.errors import OperationalError, ProtocolError
from client_sdk.wire.ids import DeviceAddress

ASK_SECONDS: Final = (30.0, 120.0, 600.0, 3600.0)
"""When a manager asks the others again for a key that it still lacks; the last repeats."""

MAX_IDLE_SECONDS: Final = 3600.0

_logger = logging.getLogger(__name__)

Plan = Callable[[OwnDevice, PeerState, DeviceAddress, FreshContent, int], tuple[PeerState, Changes]]


class ManagerKeys:
    """The loop that asks for the account's key, and gives it to managers that ask."""

    def __init__(self, context: Context) -> None:
        """Start with nobody asked."""
        self._context = context
        self._asked_under: ListMark | None = None
        self._passes = 0
        self._next = 0.0

    async def loop(self) -> None:
        """Ask and give until cancelled."""
        self._asked_under = None
        while True:
            ticket = self._context.keys_bell.ticket()
            while self._context.key_wishes:
                await self._send(self._context.key_wishes.pop(), plan_key_given)
            await wait_for(ticket, await self._ask())

    async def _ask(self) -> float:
        """Ask all other managers where it is time; return the seconds until the next time."""
        own = self._context.own
        if not lacks_account_key(own):
            return MAX_IDLE_SECONDS
        if own.mark != self._asked_under:
            self._asked_under, self._passes, self._next = own.mark, 0, 0.0
        if time.monotonic() >= self._next:
            for device in other_managers(own):
                await self._send(device, plan_key_wanted)
            self._next = time.monotonic() + step(ASK_SECONDS, self._passes)
            self._passes += 1
        return max(self._next - time.monotonic(), 0.0)

    async def _send(self, device: DeviceAddress, plan: Plan) -> None:
        try:
            await self._seal(device, plan)
        except StaleSnapshotError:  # another process wrote meanwhile; who still lacks it asks again
            self._context.keys_bell.ring()
        except StoreError:
            raise
        except (OperationalError, ProtocolError, NotContactError) as error:
            _logger.info("%s is not reached about the account's key: %s", device, error.code)

    async def _seal(self, device: DeviceAddress, plan: Plan) -> None:
        context, user = self._context, self._context.own.user
        bundle = None
        if device in without_session(await context.peers.load(user)):
            bundle = await context.peers.fetch_bundle(device)
        async with context.peers.lock(user):
            state = await context.peers.load(user)
            if bundle is not None and device in without_session(state):
                state = context.peers.with_new_session(state, bundle)
            fresh = fresh_content(state, device)
            moved, changes = plan(context.own, state, device, fresh, now_ms())
            if changes != Changes():
                await context.peers.commit(moved, changes, (device,))
        context.publish_bell.ring()
