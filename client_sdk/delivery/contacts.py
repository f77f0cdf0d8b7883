"""Contacts as the directory's policy has them now, and users whom it withdrew."""

import logging

from client_sdk.delivery.clock import now_ms
from client_sdk.delivery.context import Context
from client_sdk.delivery.errors import NotContactError
from client_sdk.machine.devices import is_withdrawn, plan_withdrawal
from client_sdk.stores.errors import StaleSnapshotError
from client_sdk.wire.directory import Relation
from client_sdk.wire.errors import ProtocolError
from client_sdk.wire.ids import UserName

_logger = logging.getLogger(__name__)


async def renew_contacts(context: Context) -> None:
    """Fetch the contacts, and withdraw whom the policy no longer gives.

    Raises:
        DirectoryUnavailableError: No answer; who was not asked for yet stays as known.
        RateLimitedError: Asked too often; the same.
        StoreError: The contacts were not stored.
    """
    contacts = await context.directory.fetch_contacts()
    await context.store.replace_contacts(contacts)
    listed = {one.user for one in contacts}
    for user in await context.store.users_related(Relation.CONTACT):
        if user not in listed:
            await _ask_again(context, user)


async def withdraw(context: Context, user: UserName) -> None:
    """Drop a known user's mail from now on, and send nothing more, until the policy changes."""
    async with context.peers.lock(user):
        state = await context.peers.load(user)
        if state.device_list is None or is_withdrawn(state):
            return
        withdrawn, changes = plan_withdrawal(state, now_ms())
        try:
            await context.peers.commit(withdrawn, changes, tuple(withdrawn.sessions))
        except StaleSnapshotError:  # another process wrote: the next answer withdraws them
            return
    context.outbox_bell.ring()
    context.changed_bell.ring()


async def _ask_again(context: Context, user: UserName) -> None:
    try:
        await context.peers.refresh(user)
    except NotContactError:
        await withdraw(context, user)
    except (ProtocolError, StaleSnapshotError) as error:
        _logger.info("a contact could not be looked up again: %s", error.code)
