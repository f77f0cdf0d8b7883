"""Doctor and patient on every broker: what the SDK promises holds whatever the broker does."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from client_sdk import Messenger
from client_sdk.wire.ids import DIRECTORY_LOGIN, DeviceAddress
from client_sdk.wire.topics import device_tree, sent_filter
from tests.brokers.contract.brokers import FULL
from tests.brokers.contract.clients import Clients
from tests.brokers.contract.conftest import Make
from tests.brokers.contract.nats import NatsCluster
from tests.brokers.contract.office import Office
from tests.brokers.contract.under_test import LOGIN_REFUSED

MESSAGES = 200
DOCTOR, PATIENT = "house", "ada"
PATIENCE = 90.0

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def office(own_broker: Make, tmp_path: Path) -> Iterator[Office]:
    with Office(own_broker({}), tmp_path) as running:
        yield running


async def enrol_both(office: Office) -> None:
    await office.enrol(DOCTOR, "doctor")
    await office.enrol(PATIENT, "patient")


@asynccontextmanager
async def opened(office: Office, user: str) -> AsyncIterator[Messenger]:
    async with Messenger.open(office.store(user)) as messenger:
        yield messenger


async def send_all(messenger: Messenger, to: str, mark: str) -> list[str]:
    texts = [f"{mark} {number}" for number in range(MESSAGES)]
    for text in texts:
        await messenger.send(to, text)
    return texts


class Reader:
    """Takes messages as an app does: one is handled when the next one is asked for."""

    def __init__(self, messenger: Messenger) -> None:
        self._messages = messenger.messages()

    async def take(self, count: int, under_way: asyncio.Event | None = None) -> list[str]:
        """Return so many texts; tell when a quarter of them came."""
        found: list[str] = []
        async with asyncio.timeout(PATIENCE):
            while len(found) < count:
                found.append((await anext(self._messages)).text or "")
                if under_way is not None and len(found) == count // 4:
                    under_way.set()
        return found


async def test_messages_wait_for_who_is_away_both_ways(office: Office) -> None:
    await enrol_both(office)
    async with opened(office, DOCTOR) as doctor:
        sent = await send_all(doctor, PATIENT, "while you were away")
        last = await doctor.send(PATIENT, "the last one")
        await doctor.wait_published(last, PATIENCE)
    async with opened(office, PATIENT) as patient:
        assert await Reader(patient).take(MESSAGES + 1) == [*sent, "the last one"]
        answers = await send_all(patient, DOCTOR, "and while you were")
        last = await patient.send(DOCTOR, "the last answer")
        await patient.wait_published(last, PATIENCE)
    async with opened(office, DOCTOR) as doctor:
        assert await Reader(doctor).take(MESSAGES + 1) == [*answers, "the last answer"]


async def converse(office: Office, disturb: Callable[[], None]) -> None:
    """Let both send and both receive while the broker is disturbed: all once, and in order."""
    await enrol_both(office)
    under_way = asyncio.Event()

    async def disturbed() -> None:
        await under_way.wait()
        await asyncio.to_thread(disturb)

    async with opened(office, DOCTOR) as doctor, opened(office, PATIENT) as patient:
        at_patient, at_doctor = Reader(patient), Reader(doctor)
        first = await doctor.send(PATIENT, "start")
        assert await at_patient.take(1) == ["start"]
        await first.delivered(PATIENCE)
        async with asyncio.TaskGroup() as group:
            heard = group.create_task(at_patient.take(MESSAGES, under_way))
            answered = group.create_task(at_doctor.take(MESSAGES))
            to_patient = group.create_task(send_all(doctor, PATIENT, "to the patient"))
            to_doctor = group.create_task(send_all(patient, DOCTOR, "to the doctor"))
            group.create_task(disturbed())
        assert heard.result() == to_patient.result()
        assert answered.result() == to_doctor.result()
        last = await doctor.send(PATIENT, "end")
        assert await at_patient.take(1) == ["end"]
        await last.delivered(PATIENCE)


async def test_kill_9_of_the_broker_in_the_middle_loses_and_repeats_nothing(
    office: Office,
) -> None:
    def disturb() -> None:
        office.broker.kill()
        office.broker.start()

    await converse(office, disturb)


@pytest.mark.parametrize("broker_name", ["nats-cluster"])
@pytest.mark.parametrize("lost", range(3) if FULL else [0])
async def test_the_loss_of_a_node_in_the_middle_loses_and_repeats_nothing(
    office: Office, lost: int
) -> None:
    broker = office.broker
    assert isinstance(broker, NatsCluster)
    await converse(office, lambda: broker.kill_node(lost))


async def test_a_revoked_user_is_refused_and_nothing_of_theirs_is_left(
    office: Office, clients: Clients
) -> None:
    await enrol_both(office)
    broker, device = office.broker, DeviceAddress(f"{PATIENT}-1")
    async with opened(office, PATIENT) as patient:
        sent = await patient.send(DOCTOR, "the last one")
        await patient.wait_published(sent, PATIENCE)
    secret = broker.logins.get(device, "")
    await office.revoke(PATIENT)
    assert broker.answers(device, secret) in (*LOGIN_REFUSED, None)
    # The directory itself uses this login: it is stopped once its sweep has recorded an end.
    await asyncio.to_thread(office.until_swept, device)
    office.stop()
    left = await clients.login_again(broker, DIRECTORY_LOGIN)
    await left.subscribe(device_tree(device), sent_filter(device))
    assert [one.topic for one in await left.until_quiet() if one.payload] == []
