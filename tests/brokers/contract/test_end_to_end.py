"""Doctor and patient on every broker: what the SDK promises holds whatever the broker does."""

import asyncio

import pytest

from client_sdk.wire.ids import DIRECTORY_LOGIN, DeviceAddress
from client_sdk.wire.topics import device_tree, sent_filter
from tests.brokers.contract.clients import Clients, fetch_only
from tests.brokers.contract.office import Office
from tests.brokers.contract.talk import (
    DOCTOR,
    MESSAGES,
    PATIENCE,
    PATIENT,
    Reader,
    converse,
    enrol_both,
    opened,
    send_all,
)
from tests.brokers.contract.under_test import LOGIN_REFUSED
from tests.e2e.clinic import until
from tests.e2e.programs import run

pytestmark = pytest.mark.timeout(180)


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


async def test_kill_9_of_the_broker_in_the_middle_loses_and_repeats_nothing(
    office: Office,
) -> None:
    def disturb() -> None:
        office.broker.kill()
        office.broker.start()

    await converse(office, disturb)


async def test_a_revoked_user_is_refused_and_nothing_of_theirs_is_left(
    office: Office, clients: Clients
) -> None:
    await enrol_both(office)
    broker, device = office.broker, DeviceAddress(f"{PATIENT}-1")
    async with opened(office, PATIENT) as patient:
        sent = await patient.send(DOCTOR, "the last one")
        await patient.wait_published(sent, PATIENCE)
    command = ("credentials", "--store", str(office.store(PATIENT)), "--json")
    secret = str((await asyncio.to_thread(run, *command)).row["password"])
    await asyncio.to_thread(until, lambda: broker.answers(device, secret) == 0, "it is let in")
    await office.revoke(PATIENT)
    refused = (*LOGIN_REFUSED, None)
    await asyncio.to_thread(
        until, lambda: broker.answers(device, secret) in refused, "it is refused"
    )
    # The directory itself uses this login: it is stopped once its sweep has recorded an end.
    await asyncio.to_thread(office.until_swept, device)
    office.stop()
    left = await clients.login(broker, DIRECTORY_LOGIN)
    left.filters = (device_tree(device), sent_filter(device))
    await fetch_only(left, set())
