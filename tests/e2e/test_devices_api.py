"""The calls about one's own devices, in this process, on a served system."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from client_sdk import DeliveryTimeoutError, Messenger
from client_sdk.delivery.errors import LinkExpiredError, LinkRefusedError
from client_sdk.device_handles import LinkRequest
from client_sdk.machine.events import DeviceListChanged, Event, IdentityChanged, SentElsewhere
from client_sdk.machine.identity import Identity
from client_sdk.wire.errors import InvalidInvitationError
from tests.e2e.clinic import Clinic
from tests.e2e.messengers import PATIENCE, Party


@pytest.fixture
async def party(clinic: Clinic, tmp_path: Path) -> AsyncIterator[Party]:
    async with asyncio.timeout(110), AsyncExitStack() as stack:
        yield Party(clinic, tmp_path, stack)


async def link(party: Party, first: Messenger, *, manager: bool = False) -> str:
    """Link one more device of ``first``'s user; return the name of its store."""
    request = await first.link_request()
    name = f"{first.user}_{request.address.rpartition('-')[2]}"
    enrolling = asyncio.create_task(Messenger.enroll(request.code, party.store(name)))
    assert await first.approve_device(request, manager=manager) == request.address
    assert (await enrolling).address == request.address
    return name


async def event_of(messenger: Messenger, kind: type[Event]) -> Event:
    async for one in messenger.events():
        if isinstance(one, kind):
            return one
    raise AssertionError


async def test_delivered_to_all_waits_for_every_device_and_copies_are_told(party: Party) -> None:
    doctor, patient = await party.pair()
    second = await link(party, doctor)
    sent = await patient.send(doctor.user, "to both")
    await sent.delivered(PATIENCE)
    with pytest.raises(DeliveryTimeoutError):
        await sent.delivered(1.5, all_devices=True)  # the other device is not online yet
    other = await party.opened(second)
    assert (await anext(other.messages())).text == "to both"
    await sent.delivered(PATIENCE, all_devices=True)
    assert sorted(sent.devices) == [f"{doctor.user}-1", f"{doctor.user}-2"]
    answer = await doctor.send(patient.user, "from the first")
    await answer.delivered(PATIENCE)
    told = await event_of(other, SentElsewhere)
    assert isinstance(told, SentElsewhere)
    assert (told.id, told.conversation, told.device) == (answer.id, patient.user, doctor.address)
    found = (await other.history(patient.user))[-1]
    assert (found.id, found.text, found.outgoing) == (answer.id, "from the first", True)
    reply = await other.send(patient.user, "from the second")
    await reply.delivered(PATIENCE)
    await event_of(doctor, SentElsewhere)
    assert (await doctor.history(patient.user))[-1].text == "from the second"


async def test_devices_are_listed_and_their_changes_told(party: Party) -> None:
    doctor, patient = await party.pair()
    await (await patient.send(doctor.user, "hello")).delivered(PATIENCE)
    name = await link(party, doctor, manager=True)
    other = await party.opened(name)
    assert [one.address for one in await other.devices()] == [doctor.address, other.address]
    assert [one.this for one in await other.devices()] == [False, True]
    assert all(one.manager for one in await doctor.devices())
    removed = await other.remove_device(1)
    assert removed.recovery_code is not None
    assert repr(removed) == "RemovedDevice(number=1)"
    await other.send(patient.user, "I am the only one now")
    told = await event_of(patient, DeviceListChanged)
    assert isinstance(told, DeviceListChanged)
    assert (told.version, told.removed) == (3, (doctor.address,))
    assert [one.number for one in await other.devices()] == [2]


async def request_of(manager: Messenger) -> LinkRequest:
    """Return a link request of a manager that may still be waiting for the account's key."""
    while True:
        try:
            return await manager.link_request()
        except LinkRefusedError:
            await asyncio.sleep(0.1)


async def test_when_a_manager_is_removed_the_other_managers_get_the_new_key(party: Party) -> None:
    doctor, patient = await party.pair()
    names = [await link(party, doctor, manager=manager) for manager in (True, True, False, True)]
    second, removed = await party.opened(names[0]), await party.opened(names[3])
    assert (await removed.link_request()).address == f"{doctor.user}-6"
    assert (await doctor.remove_device(5)).recovery_code is not None
    flags = [(one.number, one.manager) for one in await doctor.devices()]
    assert flags == [(1, True), (2, True), (3, True), (4, False)]
    request = await request_of(second)
    enrolling = asyncio.create_task(Messenger.enroll(request.code, party.store("sixth")))
    assert await second.approve_device(request) == f"{doctor.user}-6"
    await enrolling
    third = await party.opened(names[1])  # it was away all the time, and asks by itself
    await request_of(third)
    assert (await third.remove_device(6)).recovery_code is None
    ordinary = await party.opened(names[2])
    with pytest.raises(LinkRefusedError, match="does not have the account's key"):
        await ordinary.link_request()
    await (await patient.send(doctor.user, "still one account")).delivered(PATIENCE)


async def test_a_succession_holds_what_goes_to_a_verified_contact_until_it_is_verified_again(
    party: Party,
) -> None:
    doctor, patient = await party.pair()
    await (await patient.send(doctor.user, "hello")).delivered(PATIENCE)
    before = await patient.safety_number(doctor.user)
    await patient.verify(doctor.user)
    await link(party, doctor, manager=True)
    await doctor.remove_device(2)  # a new account key, which the old one has signed
    await doctor.send(patient.user, "I have removed a device")
    told = await event_of(patient, IdentityChanged)
    assert told == IdentityChanged(doctor.user, held=True)
    held = await patient.send(doctor.user, "only after comparing")
    with pytest.raises(DeliveryTimeoutError):
        await held.delivered(1.5)
    assert await patient.identity(doctor.user) is Identity.CHANGED
    assert "only after comparing" not in [one.text for one in await doctor.history(patient.user)]
    after = await patient.safety_number(doctor.user)
    assert after.digits != before.digits
    assert after.digits == (await doctor.safety_number(patient.user)).digits
    await patient.verify(doctor.user)
    await held.delivered(PATIENCE)
    assert await patient.identity(doctor.user) is Identity.VERIFIED
    texts = [one.text for one in await patient.history(doctor.user)]
    assert texts == ["hello", "I have removed a device", "only after comparing"]


async def test_what_cannot_be_linked_or_removed_changes_nothing(party: Party) -> None:
    doctor, patient = await party.pair()
    request = await doctor.link_request()
    assert request.code not in repr(request)
    with pytest.raises(LinkRefusedError, match="another user"):
        await patient.approve_device(request)
    newer = await doctor.link_request()
    with pytest.raises(LinkExpiredError):
        await doctor.approve_device(request)
    with pytest.raises(InvalidInvitationError):
        await doctor.approve_device(newer.code[:-2])
    for number in (0, 1, 2, 128):
        with pytest.raises(LinkRefusedError):
            await doctor.remove_device(number)
    assert [one.number for one in await doctor.devices()] == [1]
