"""Accepting and blocking users."""

from client_sdk.delivery.clock import now_ms
from client_sdk.delivery.context import Context
from client_sdk.machine.changes import Changes, combine
from client_sdk.machine.devices import plan_consent
from client_sdk.machine.rows import MessageState, ReceiptDue, StateChange
from client_sdk.wire.ids import UserName


async def accept_user(context: Context, user: UserName) -> None:
    """Trust a user; what waited is handed over, and its sender gets the receipts."""
    async with context.peers.lock(user):
        state = await context.peers.load(user)
        waiting = await context.store.waiting_requests(user)
        accepted, changes = plan_consent(state, accepted=True, blocked=False)
        released = Changes(
            states=tuple(StateChange(one, user, MessageState.READY) for one in waiting),
            receipts_due=tuple(
                ReceiptDue(user, one, read=False, due_since=now_ms()) for one in waiting
            ),
        )
        await context.peers.commit(accepted, combine(changes, released), ())
    context.receipts_bell.ring()
    context.changed_bell.ring()


async def set_blocked(context: Context, user: UserName, *, blocked: bool) -> None:
    """Block or unblock a user."""
    async with context.peers.lock(user):
        state = await context.peers.load(user)
        changed, changes = plan_consent(state, blocked=blocked)
        await context.peers.commit(changed, changes, ())
