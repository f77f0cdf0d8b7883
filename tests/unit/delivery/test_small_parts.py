"""Bell, lease and pace: the small parts that everything else waits on."""

import asyncio
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from client_sdk.delivery import drop_log as drop_log_module
from client_sdk.delivery.bell import Bell, wait_for
from client_sdk.delivery.context import MAX_WAITING_EVENTS, EventQueue
from client_sdk.delivery.drop_log import MAX_REMEMBERED_DEVICES, DropLog
from client_sdk.delivery.fair_queue import FairQueue
from client_sdk.delivery.lease import ConnectionLease
from client_sdk.delivery.pace import RESEND_SECONDS, RESYNC_SECONDS, step
from client_sdk.delivery.running import first_error
from client_sdk.machine.events import ContactRequest
from client_sdk.stores.errors import StoreMissingError
from client_sdk.transport.ports import Incoming
from client_sdk.wire.ids import DeviceAddress, UserName

HOLD = """
import sys
from pathlib import Path
from client_sdk.delivery.lease import ConnectionLease
lease = ConnectionLease(Path(sys.argv[1]))
print(lease.acquire(), flush=True)
sys.stdin.readline()
"""


async def test_a_ring_between_looking_and_waiting_is_not_missed() -> None:
    bell = Bell()
    ticket = bell.ticket()
    bell.ring()
    assert await wait_for(ticket, 0)
    assert await wait_for(ticket, 5)
    assert not await wait_for(bell.ticket(), 0.01)


async def test_every_holder_of_a_ticket_wakes_and_old_rings_wake_nobody_new() -> None:
    bell = Bell()
    waiting = [asyncio.create_task(wait_for(bell.ticket(), 5)) for _ in range(3)]
    await asyncio.sleep(0)
    bell.ring()
    assert await asyncio.gather(*waiting) == [True] * 3
    assert not bell.ticket().is_set()


async def test_no_wake_up_is_missed_by_a_consumer_that_looks_before_it_waits() -> None:
    bell, box, seen = Bell(), list[int](), list[int]()

    async def consume() -> None:
        while len(seen) < 100:
            ticket = bell.ticket()
            while box:
                seen.append(box.pop(0))
            await asyncio.sleep(0)
            if len(seen) < 100:
                assert await wait_for(ticket, 5)

    consumer = asyncio.create_task(consume())
    for number in range(100):
        box.append(number)
        bell.ring()
        if number % 3 == 0:
            await asyncio.sleep(0)
    await consumer
    assert seen == list(range(100))


async def test_events_come_in_order_and_the_oldest_give_way() -> None:
    events = EventQueue()
    names = [ContactRequest(UserName(f"u{number}")) for number in range(MAX_WAITING_EVENTS + 1)]
    events.emit(names)
    taking = events.take()
    assert await anext(taking) == names[1]
    assert await anext(taking) == names[2]


def test_one_process_at_a_time_holds_the_lease_of_a_store(tmp_path: Path) -> None:
    path = tmp_path / "device.db"
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "True\n"
    lease = ConnectionLease(path)
    assert not lease.acquire()
    assert not lease.held
    child.kill()
    child.communicate()
    assert lease.acquire()
    assert lease.acquire()
    assert lease.held
    assert not ConnectionLease(path).acquire()
    lease.release()
    lease.release()
    assert not lease.held
    assert ConnectionLease(path).acquire()


def test_a_store_in_memory_needs_no_lease_and_a_missing_folder_is_told(tmp_path: Path) -> None:
    assert ConnectionLease(None).held
    assert ConnectionLease(None).acquire()
    with pytest.raises(StoreMissingError):
        ConnectionLease(tmp_path / "absent" / "device.db").acquire()


def test_envelopes_are_published_again_after_30_s_2_min_10_min_and_hourly() -> None:
    assert [step(RESEND_SECONDS, n) for n in range(6)] == [30, 120, 600, 3600, 3600, 3600]
    assert [step(RESYNC_SECONDS, n) for n in range(4)] == [5, 10, 180, 180]


def test_the_first_error_of_nested_groups_is_told() -> None:
    inner = OSError("inner")
    assert first_error(BaseExceptionGroup("a", [BaseExceptionGroup("b", [inner])])) is inner
    assert first_error(inner) is inner


async def test_senders_take_turns_and_each_one_keeps_its_order() -> None:
    queue = FairQueue()
    for number in range(6):
        queue.put(Incoming(f"in/flood/{number}", b"x", retained=True))
    for sender in ("a", "b"):
        queue.put(Incoming(f"in/{sender}/0", b"x", retained=True))
    assert len(queue) == 8
    first = [one.topic for one in await queue.take(4)]
    assert first == ["in/flood/0", "in/a/0", "in/b/0", "in/flood/1"]
    assert [one.topic for one in await queue.take(99)] == [f"in/flood/{n}" for n in range(2, 6)]
    assert len(queue) == 0
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await queue.take(1)


def test_a_sender_device_is_warned_of_once_a_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(drop_log_module.time, "monotonic", lambda: clock[0])
    log, alice, bob = DropLog(), DeviceAddress("alice-1"), DeviceAddress("bob-1")
    with caplog.at_level(logging.WARNING):
        for device in (alice, alice, bob, alice):
            log.dropped(device, "malformed")
        assert len(caplog.records) == 2
        clock[0] += drop_log_module.QUIET_SECONDS
        log.dropped(alice, "malformed")
    assert len(caplog.records) == 3
    assert "alice" not in caplog.text


def test_1024_devices_are_remembered_and_one_more_takes_the_place_of_the_oldest() -> None:
    log = DropLog()
    for number in range(MAX_REMEMBERED_DEVICES + 1):
        log.dropped(DeviceAddress(f"d{number}-1"), "malformed")
        assert len(log._quiet_until) == min(number + 1, MAX_REMEMBERED_DEVICES)
    assert DeviceAddress("d0-1") not in log._quiet_until
