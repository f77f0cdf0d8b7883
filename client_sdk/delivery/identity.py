"""Showing, verifying and trusting a user's account key, committed under the user's lock."""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from client_sdk.delivery.clock import now_ms
from client_sdk.delivery.context import Context
from client_sdk.delivery.errors import NotContactError
from client_sdk.machine.changes import Changes
from client_sdk.machine.errors import IdentityChangedError
from client_sdk.machine.identity import IdentityStep, plan_shown, plan_trust, plan_verify
from client_sdk.machine.state import PeerState
from client_sdk.stores.errors import StaleSnapshotError
from client_sdk.wire.errors import OperationalError, ProtocolError
from client_sdk.wire.ids import UserName

TRIES: Final = 5
"""How often a step is planned again because another process wrote meanwhile."""


async def show_identity(context: Context, user: UserName) -> PeerState:
    """Return a user with keys to compare, and remember that they were shown.

    Raises:
        NotContactError: No keys of the user are known, and the directory gives none.
        OperationalError: The user is not known yet and the directory cannot be asked.
    """
    await _make_known(context, user)
    return await _step(context, user, plan_shown)


async def verify_user(context: Context, user: UserName) -> None:
    """Mark a user's account key as compared; a new one is taken.

    Raises:
        NotComparedError: The key has changed and its number was not shown; nothing was changed.
        NotContactError: No keys of the user are known, and the directory gives none.
        OperationalError: The user is not known yet and the directory cannot be asked.
    """
    await _make_known(context, user)
    await _step(context, user, lambda state: plan_verify(state, now_ms()))


async def trust_user(context: Context, user: UserName) -> None:
    """Take a user's new account key without comparing; nothing where there is no new one.

    The directory is asked first where it can be.

    Raises:
        NotContactError: No keys of the user are known, and the directory gives none.
        OperationalError: The user is not known yet and the directory cannot be asked.
    """
    await _make_known(context, user)
    if context.directory.attached:
        # Where the directory is of no help, what it offered before is what is trusted.
        with suppress(IdentityChangedError, OperationalError, ProtocolError, NotContactError):
            await context.peers.refresh(user)
    await _step(context, user, lambda state: plan_trust(state, now_ms()))


async def release_loop(context: Context) -> None:
    """Fetch mail again that was left on the broker, once its sender is trusted or verified."""
    while True:
        ticket = context.changed_bell.ticket()
        for user in tuple(context.held):
            if not (await context.peers.load(user)).is_held:
                context.held.discard(user)
                context.outbox_bell.ring()
                context.receipts_bell.ring()
                context.resync_bell.ring()
        await ticket.wait()


async def _make_known(context: Context, user: UserName) -> None:
    if (await context.peers.load(user)).device_list is None:
        await context.peers.refresh(user)


async def _step(
    context: Context, user: UserName, plan: Callable[[PeerState], IdentityStep]
) -> PeerState:
    for _ in range(TRIES - 1):
        try:
            return await _commit(context, user, plan)
        except StaleSnapshotError:
            continue
    return await _commit(context, user, plan)


async def _commit(
    context: Context, user: UserName, plan: Callable[[PeerState], IdentityStep]
) -> PeerState:
    async with context.peers.lock(user):
        before = await context.peers.load(user)
        step = plan(before)
        if step.changes == Changes():
            return step.state
        devices = step.changed_sessions(before)
        state = await context.peers.commit(step.state, step.changes, devices)
    context.outbox_bell.ring()
    context.receipts_bell.ring()
    context.changed_bell.ring()
    return state
