"""Ending a task for certain."""

import asyncio
from typing import Any, Final

CANCEL_AGAIN_SECONDS: Final = 0.5


async def end(task: "asyncio.Future[Any]", again: float | None = CANCEL_AGAIN_SECONDS) -> None:
    """Cancel a task and wait until it has ended, in whatever way; its error is not raised.

    A task group that fails in the very moment in which it is cancelled raises its failure and
    forgets the request (Python before 3.13), and who handles the failure goes on. So the request
    is repeated.

    Args:
        task: What is to end.
        again: Seconds after which the request is repeated; None for work whose own clean-up
            waits for something and must not be disturbed.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=again)
    if not task.cancelled():
        task.exception()
