"""A command that is told to end ends, also when its first cancellation is lost."""

import asyncio
import os
import signal

import pytest

from client_sdk.signals import until_signalled


async def stubborn(answering: asyncio.Event) -> None:
    """Lose the first cancellation, as a failing task group of Python 3.11 does."""
    try:
        answering.set()
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await asyncio.Event().wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_lost_cancellation_is_repeated(number: signal.Signals) -> None:
    answering = asyncio.Event()
    async with asyncio.timeout(5):
        ended = await until_signalled(
            stubborn(answering), answering, lambda: os.kill(os.getpid(), number)
        )
    assert ended is None


async def test_what_work_returns_or_raises_comes_out() -> None:
    async def fail() -> None:
        raise ValueError("of the work")

    assert await until_signalled(asyncio.sleep(0, "done")) == "done"
    with pytest.raises(ValueError, match="of the work"):
        await until_signalled(fail())


async def test_ready_that_fails_ends_the_work() -> None:
    answering = asyncio.Event()

    def fail() -> None:
        raise ValueError("of the announcement")

    async with asyncio.timeout(5):
        with pytest.raises(ValueError, match="of the announcement"):
            await until_signalled(stubborn(answering), answering, fail)
