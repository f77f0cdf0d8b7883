"""Signed and last-resort prekeys are replaced in time, and old private halves deleted."""

import asyncio
import logging
from typing import Final

from client_sdk.delivery.clock import certain_ms, now_ms
from client_sdk.delivery.context import Context
from client_sdk.delivery.upkeep import make_medium_term_prekeys, upload_waiting
from client_sdk.machine.changes import Changes
from client_sdk.machine.prekeys import outlived, rotation_due
from client_sdk.stores.ports import ClientStore
from client_sdk.wire.errors import OperationalError

LOOK_SECONDS: Final = 3600.0

_logger = logging.getLogger(__name__)


async def rotation_loop(context: Context) -> None:
    """Look once an hour, and at every connection, until cancelled."""
    while True:
        if await rotate(context.store, now_ms(), certain_ms()):
            try:
                await upload_waiting(context)
            except OperationalError as error:
                _logger.info("new prekeys are uploaded later: %s", error.code)
        await asyncio.sleep(LOOK_SECONDS)


async def rotate(store: ClientStore, now: int, certain: int) -> bool:
    """Replace prekeys that are due and delete outlived ones; tell whether new ones were made.

    Args:
        store: The device's store.
        now: ms since 1970.
        certain: The same, less what the clock was put ahead: deletes nothing too early.
    """
    medium_term = await store.medium_term_prekeys()
    gone = outlived(medium_term, certain)
    if gone:
        await store.commit(Changes(prekeys_spent=gone))
    due = rotation_due(medium_term, now)
    if due:
        await make_medium_term_prekeys(store, now)
    return due
