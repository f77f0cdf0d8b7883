"""Requests that wait: few of each sender, and each sender in turn."""

import asyncio

import pytest

from client_sdk.entropy import draw_id
from client_sdk.transport.ports import Incoming
from client_sdk.wire import topics
from client_sdk.wire.ids import DeviceAddress, InvitationId, RequestId
from client_sdk.wire.limits import MAX_DIRECTORY_BYTES
from keydir import waiting as waiting_module
from keydir.limits import ARRIVAL_LIMIT, DEVICE_LIMIT
from keydir.waiting import MAX_WAITING_BYTES_OF_ONE, MAX_WAITING_OF_ONE, Waiting
from tests.unit.keydir.keydir_parties import Clock


def request(device: str, payload: bytes = b"x") -> Incoming:
    topic = topics.request(DeviceAddress(device), RequestId(draw_id()))
    return Incoming(topic, payload, retained=False)


def enrolment(invitation_id: str) -> Incoming:
    return Incoming(topics.enroll(InvitationId(invitation_id)), b"x", retained=False)


async def test_a_device_and_an_invitation_have_8_waiting_requests_each() -> None:
    waiting, invitation_id = Waiting(Clock(0)), draw_id()
    for _ in range(MAX_WAITING_OF_ONE):
        assert waiting.add(request("pat-1"))
        assert waiting.add(enrolment(invitation_id))
    assert not waiting.add(request("pat-1"))
    assert not waiting.add(enrolment(invitation_id))
    assert waiting.add(request("dora-1"))
    assert waiting.add(enrolment(draw_id()))
    assert waiting.count == 2 * MAX_WAITING_OF_ONE + 2
    waiting.done(await waiting.take())
    assert waiting.add(request("pat-1"))


async def test_the_bytes_that_wait_of_one_device_are_bounded() -> None:
    waiting = Waiting(Clock(0))
    assert not waiting.add(request("pat-1", bytes(MAX_DIRECTORY_BYTES + 1)))
    for _ in range(MAX_WAITING_BYTES_OF_ONE // MAX_DIRECTORY_BYTES):
        assert waiting.add(request("pat-1", bytes(MAX_DIRECTORY_BYTES)))
    assert waiting.size == MAX_WAITING_BYTES_OF_ONE
    assert not waiting.add(request("pat-1"))
    assert waiting.add(request("dora-1"))
    waiting.done(await waiting.take())
    assert waiting.add(request("pat-1", bytes(MAX_DIRECTORY_BYTES)))
    assert waiting.size == MAX_WAITING_BYTES_OF_ONE + 1


async def test_what_waits_of_everybody_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = Waiting(Clock(0))
    for number in range(waiting_module.MAX_WAITING):
        assert waiting.add(request(f"p{number}-1"))
    assert not waiting.add(request("pat-1"))
    assert waiting.count == waiting_module.MAX_WAITING
    waiting = Waiting(Clock(0))
    monkeypatch.setattr(waiting_module, "MAX_WAITING_BYTES", 10)
    assert waiting.add(request("a-1", bytes(9)))
    assert not waiting.add(request("b-1", bytes(2)))
    assert waiting.add(request("b-1", bytes(1)))
    assert waiting.size == 10


async def test_senders_are_taken_in_turn_and_each_in_order() -> None:
    waiting = Waiting(Clock(0))
    many = [request("pat-1") for _ in range(3)]
    few, none = request("dora-1"), request("zoe-1")
    for one in (*many, few, none):
        assert waiting.add(one)
    taken = []
    for _ in range(5):
        taken.append(await waiting.take())
        waiting.done(taken[-1])
    assert taken == [many[0], few, none, many[1], many[2]]
    assert (waiting.count, waiting.size) == (0, 0)
    taking = asyncio.create_task(waiting.take())
    await asyncio.sleep(0)
    assert not taking.done()
    assert waiting.add(few)
    assert await taking == few


async def test_a_sender_that_asks_too_often_is_not_heard_and_then_again() -> None:
    clock = Clock(0)
    waiting = Waiting(clock)
    for _ in range(ARRIVAL_LIMIT.burst):
        assert waiting.add(request("pat-1"))
        waiting.done(await waiting.take())
    assert not waiting.add(request("pat-1"))
    assert waiting.add(request("dora-1"))
    clock.now += ARRIVAL_LIMIT.refill_ms
    assert waiting.add(request("pat-1"))
    assert not waiting.add(request("pat-1"))
    assert ARRIVAL_LIMIT.burst > DEVICE_LIMIT.burst


@pytest.mark.parametrize("topic", ["v1/kd/req/pat-1/short", "v1/kd/req/x", "v1/kd/enroll/x"])
async def test_a_topic_that_names_no_sender_never_waits(topic: str) -> None:
    waiting = Waiting(Clock(0))
    assert not waiting.add(Incoming(topic, b"x", retained=False))
    assert waiting.count == 0
