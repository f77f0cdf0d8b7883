"""Messages that never came: what waits behind one is handed over after a while."""

import asyncio

from client_sdk.delivery.clock import now_ms
from client_sdk.delivery.context import Context
from client_sdk.machine.receiving import plan_give_up
from client_sdk.machine.streams import GAP_TIMEOUT_MS
from client_sdk.stores.errors import StaleSnapshotError
from client_sdk.wire.ids import UserName


async def gap_loop(context: Context) -> None:
    """Hand over, once a second, what waited too long behind a missing message."""
    while True:
        for user, _ in await context.store.gaps_since(now_ms() - GAP_TIMEOUT_MS):
            await give_up(context, user)
        await asyncio.sleep(1)


async def give_up(context: Context, user: UserName) -> None:
    """Hand over what of a user waited too long behind a missing message."""
    now = now_ms()
    async with context.peers.lock(user):
        state = await context.peers.load(user)
        for position in state.streams.values():
            if position.gap_since is None or position.gap_since > now - GAP_TIMEOUT_MS:
                continue
            state, changes, events = plan_give_up(state, position, now)
            try:
                state = await context.peers.commit(state, changes, ())
            except StaleSnapshotError:
                return
            context.events.emit(events)
    context.changed_bell.ring()
