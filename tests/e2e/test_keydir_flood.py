"""One login that floods the directory is not heard; everybody else is answered."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from client_sdk.entropy import draw_id
from client_sdk.transport.ports import Incoming
from client_sdk.wire import topics
from client_sdk.wire.codec import encode
from client_sdk.wire.directory import Action, FetchContacts, Status
from client_sdk.wire.ids import RequestId
from keydir import session
from keydir.limits import ARRIVAL_LIMIT
from keydir.waiting import MAX_WAITING_BYTES_OF_ONE, MAX_WAITING_OF_ONE, Waiting
from tests.e2e.keydir_system import LiveDevice, System, running_directory, running_system

FLOOD = 3000
AT_ONCE = 100
"""Publishes that wait for the broker together, as a transport has."""

HONEST_SECONDS = 30.0
CONTACTS = encode(FetchContacts(""))


class WatchedWaiting(Waiting):
    """Remembers how much ever waited."""

    most_requests = most_bytes = heard = 0

    def add(self, message: Incoming) -> bool:
        kept = super().add(message)
        cls = type(self)
        cls.heard += kept
        cls.most_requests = max(cls.most_requests, self.count)
        cls.most_bytes = max(cls.most_bytes, self.size)
        return kept


@pytest.fixture
async def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[System]:
    monkeypatch.setattr(session, "Waiting", WatchedWaiting)
    async with running_system(tmp_path) as running:
        yield running


async def flood(live: LiveDevice) -> None:
    """Publish junk, and one authentic request with a used counter, again and again."""
    party = live.party
    stale = party.request(Action.CONTACTS, CONTACTS, counter=0)
    requests = [(topics.request(party.address, stale.request_id), encode(stale))]
    requests += [
        (topics.request(party.address, RequestId(draw_id())), bytes(2000)) for _ in range(3)
    ]
    for start in range(0, FLOOD, AT_ONCE):
        async with asyncio.TaskGroup() as group:
            for number in range(start, start + AT_ONCE):
                group.create_task(live.connection.publish(*requests[number % len(requests)]))


async def test_a_flood_of_one_device_delays_nobody_else_and_does_not_pile_up(
    system: System,
) -> None:
    async with running_directory(system) as directory:
        mallory = await system.enrolled("mallory", "patient")
        doctor = await system.enrolled("dora", "doctor")
        async with system.connected(mallory) as hostile, system.connected(doctor) as honest:
            flooding = asyncio.create_task(flood(hostile))
            answered = 0
            while not flooding.done():
                async with asyncio.timeout(HONEST_SECONDS):
                    reply = await honest.ask(Action.CONTACTS, CONTACTS)
                assert reply.status is Status.OK
                answered += 1
                await asyncio.wait([flooding], timeout=0.1)
            await flooding
            async with asyncio.timeout(HONEST_SECONDS):
                assert (await honest.ask(Action.CONTACTS, CONTACTS)).status is Status.OK
    assert answered >= 2
    # What mallory had waiting at most, and one request of the doctor.
    assert WatchedWaiting.most_requests <= MAX_WAITING_OF_ONE + 1
    assert WatchedWaiting.most_bytes <= MAX_WAITING_BYTES_OF_ONE
    assert WatchedWaiting.heard < 2 * ARRIVAL_LIMIT.burst
    assert directory.dropped > FLOOD // 2
