"""Two users who write to each other, while something happens to the broker."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from client_sdk import Messenger
from tests.brokers.contract.office import Office

MESSAGES = 200
DOCTOR, PATIENT = "house", "ada"
PATIENCE = 120.0


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


async def converse(office: Office, disturb: Callable[[], None]) -> None:
    """Let both send and both receive while the broker is disturbed: all once, and in order.

    A broker that hands over only a part of what waits for a while makes gaps that may last longer
    than later messages are held back for: there, what comes after a gap is told may come before it.
    """
    order: Callable[[list[str]], list[str]] = list if office.broker.limits.whole else sorted
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
        assert order(heard.result()) == order(to_patient.result())
        assert order(answered.result()) == order(to_doctor.result())
        last = await doctor.send(PATIENT, "end")
        assert await at_patient.take(1) == ["end"]
        await last.delivered(PATIENCE)
