"""Waking tasks that wait for something to have changed."""

import asyncio
from typing import Final

CHECK_SECONDS: Final = 1.0
"""How often a waiter looks at the clock; a change wakes it at once."""


class Bell:
    """Take a ticket, look, then wait on the ticket: no ring between is ever missed."""

    def __init__(self) -> None:
        """Start silent."""
        self._event = asyncio.Event()

    def ticket(self) -> asyncio.Event:
        """Return the event of the next ring."""
        return self._event

    def ring(self) -> None:
        """Wake everybody who holds a ticket."""
        self._event.set()
        self._event = asyncio.Event()


async def wait_for(ticket: asyncio.Event, seconds: float) -> bool:
    """Wait for a ring for at most ``seconds``; tell whether it came."""
    try:
        async with asyncio.timeout(seconds):
            await ticket.wait()
    except TimeoutError:
        return False
    return True
