"""R15: the clock jumps a year ahead, a year back and past 2038; nothing is lost or reordered."""

import asyncio
import time

import pytest

from client_sdk.delivery.engine import Engine
from client_sdk.delivery.lease import ConnectionLease
from client_sdk.delivery.running import Running
from client_sdk.machine.rows import MessageState
from client_sdk.wire.ids import UserName
from tests.conftest import FULL
from tests.simulation.devices import QUICK, device, prekeys_ready
from tests.simulation.memory_broker import MemoryBroker
from tests.simulation.small_directory import SmallDirectory

BOB = UserName("bob")
MESSAGES = 500 if FULL else 60
YEAR_NS = 365 * 24 * 3600 * 10**9
JUMPS = (0, YEAR_NS, -YEAR_NS, 20 * YEAR_NS, 0)


class Clock:
    """The wall clock as somebody else puts it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead, right = 0, time.time_ns
        monkeypatch.setattr(time, "time_ns", lambda: right() + self.ahead)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


async def test_r15_texts_keep_their_order_while_the_clock_jumps(clock: Clock) -> None:
    directory = SmallDirectory()
    broker = MemoryBroker(directory)
    async with (
        asyncio.timeout(60),
        device("alice", broker, directory) as alice,
        device("bob", broker, directory) as bob,
    ):
        await prekeys_ready(directory, alice, bob)
        texts = [f"number {number}" for number in range(MESSAGES)]
        for number, text in enumerate(texts):
            clock.ahead = JUMPS[number * len(JUMPS) // MESSAGES]
            await alice.send(BOB, text)
            await bob.take(number + 1 if number % 7 == 0 else 0)
        assert await bob.take(MESSAGES) == texts


async def test_r15_what_is_under_way_does_not_expire_by_a_jump(clock: Clock) -> None:
    directory = SmallDirectory()
    broker = MemoryBroker(directory)
    async with (
        asyncio.timeout(60),
        device("bob", broker, directory) as bob,
        device("alice", broker, directory, start=False) as alice,
    ):
        await prekeys_ready(directory, bob)
        message = await alice.send(BOB, "written before")
        clock.ahead = YEAR_NS
        engine = Engine(alice.context, broker, ConnectionLease(None), QUICK)
        running = Running(alice.context, engine, start=True)
        while not engine.connected:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert await alice.state_of(message) is not MessageState.EXPIRED
        clock.ahead = 0
        assert await bob.take(1) == ["written before"]
        await running.close()
