"""A command that runs until it is told to end."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import TypeVar

from client_sdk.ending import CANCEL_AGAIN_SECONDS, end
from client_sdk.notify import READY, STOPPING, notify

_Result = TypeVar("_Result")


def _say_nothing() -> None:
    pass


async def until_signalled(
    work: Coroutine[None, None, _Result],
    answering: asyncio.Event | None = None,
    ready: Callable[[], None] = _say_nothing,
    *,
    insist: bool = True,
    interrupted: Callable[[], None] = _say_nothing,
) -> _Result | None:
    """Run ``work`` to its end, or until SIGINT or SIGTERM: then cancel it and return None.

    Args:
        work: What to run; the error it ends with is raised here.
        answering: Set by ``work`` once it does what it is for.
        ready: Called once when that is so, before systemd is told; an error it raises ends
            ``work``.
        insist: Cancel again and again until ``work`` has ended; not for work whose own clean-up
            waits for something.
        interrupted: Called at SIGINT, before ``work`` is cancelled.
    """
    running = asyncio.ensure_future(work)
    signalled = asyncio.Event()
    loop = asyncio.get_running_loop()

    def at_interrupt() -> None:
        if not signalled.is_set():
            signalled.set()
            interrupted()

    loop.add_signal_handler(signal.SIGINT, at_interrupt)
    loop.add_signal_handler(signal.SIGTERM, signalled.set)
    stopped = asyncio.ensure_future(signalled.wait())
    started = asyncio.ensure_future((answering or asyncio.Event()).wait())
    try:
        await asyncio.wait({running, stopped, started}, return_when=asyncio.FIRST_COMPLETED)
        if started.done() and not stopped.done():
            ready()
            notify(READY)
        await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
        notify(STOPPING)
    finally:
        stopped.cancel()
        started.cancel()
        await end(running, CANCEL_AGAIN_SECONDS if insist else None)
    return None if running.cancelled() else running.result()
