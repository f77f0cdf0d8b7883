"""Who does not answer may have other devices by now: the directory is asked for their list."""

import asyncio
import logging
import time
from typing import Final

from client_sdk.delivery.clock import now_ms
from client_sdk.delivery.contacts import withdraw
from client_sdk.delivery.context import Context
from client_sdk.delivery.errors import NotContactError
from client_sdk.delivery.pace import step
from client_sdk.machine.errors import IdentityChangedError
from client_sdk.stores.errors import StaleSnapshotError
from client_sdk.wire.errors import OperationalError, ProtocolError
from client_sdk.wire.ids import UserName

LOOK_SECONDS: Final = 5.0
"""How often the outbox is looked through for users who owe receipts."""

MAX_CHECKS: Final = 4
"""Users who are asked for at a look: under the one request a second that the directory refills, so
that bundles and prekeys find room."""

_logger = logging.getLogger(__name__)


async def list_check_loop(context: Context, check_seconds: tuple[float, ...]) -> None:
    """Look after every user who owes a receipt, until cancelled.

    Each is asked for at the start of a connection, and then while an envelope is without its
    receipt for longer than the first of ``check_seconds``.

    Args:
        context: The open device.
        check_seconds: How long to wait before each further check; the last repeats.
    """
    passes: dict[UserName, int] = {}
    due: dict[UserName, float] = {}
    age = 0.0
    while True:
        owing = await context.store.unreceipted_since(now_ms() - round(age * 1000))
        for user in set(passes) - set(owing):
            del passes[user], due[user]
        owing.sort(key=lambda user: due.get(user, 0.0))
        for user in owing[:MAX_CHECKS]:
            if time.monotonic() < due.get(user, 0.0):
                break
            await _check(context, user)
            done = passes.get(user, 0)
            passes[user], due[user] = done + 1, time.monotonic() + step(check_seconds, done)
        age = check_seconds[0]
        await asyncio.sleep(min(LOOK_SECONDS, age))


async def _check(context: Context, user: UserName) -> None:
    try:
        await context.peers.refresh(user)
    except NotContactError:
        await withdraw(context, user)
    except (IdentityChangedError, StaleSnapshotError):
        return
    except (OperationalError, ProtocolError) as error:
        _logger.info("a device list cannot be asked for now: %s", error.code)
