"""What commands say of a connection that is not there."""

import asyncio
import time
from typing import Final

from client_sdk.messenger import Messenger
from client_sdk.printing import warn

PATIENCE_SECONDS: Final = 5.0
"""A connection takes less, TLS and a busy server included."""

LOOK_SECONDS: Final = 0.2


def connection_state(messenger: Messenger) -> str:
    """Return how it stands with the connection, for `status`."""
    if messenger.connected:
        return "connected"
    if not messenger.leading:
        return "held by another program"
    error = messenger.connection_error
    return f"no connection yet, trying {_addresses(messenger)}" if error is None else error.code


def missing(messenger: Messenger) -> str | None:
    """Return why there is no connection; None where this or another process leads with one."""
    if messenger.connected or not messenger.leading:
        return None
    error = messenger.connection_error
    return f"no answer yet from {_addresses(messenger)}" if error is None else str(error)


async def watch_connection(messenger: Messenger) -> None:
    """Say when the connection does not come in time, is lost, and is back; until cancelled."""
    was_up = told = False
    up_at = time.monotonic()
    while True:
        why = missing(messenger)
        if why is None:
            if told:
                warn("connected again" if was_up else "connected")
            told, was_up, up_at = False, was_up or messenger.connected, time.monotonic()
        elif not told and was_up:
            warn(f"the connection was lost; trying {_addresses(messenger)} again")
            told = True
        elif not told and time.monotonic() - up_at >= PATIENCE_SECONDS:
            warn(f"not connected, trying again: {why}")
            told = True
        await asyncio.sleep(LOOK_SECONDS)


def _addresses(messenger: Messenger) -> str:
    return ", ".join(messenger.broker_urls)
