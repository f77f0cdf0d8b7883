"""The public API of one device, in this process, on a served system."""

import asyncio
import uuid
from collections.abc import Awaitable
from pathlib import Path

import pytest

from client_sdk import DeliveryTimeoutError, MessagingError, Messenger
from client_sdk.delivery.errors import AlreadyEnrolledError, NotContactError
from client_sdk.handles import DeliveryFailedError
from client_sdk.machine.events import Delivered, Event, Expired, Failed, Read
from client_sdk.stores.errors import StoreLockedError, StoreMissingError
from client_sdk.wire.errors import InvalidNameError, MessageTooLongError, MisuseError
from client_sdk.wire.ids import MessageId
from client_sdk.wire.limits import MAX_TEXT_BYTES
from tests.e2e.clinic import Clinic
from tests.e2e.messengers import (
    PATIENCE,
    Party,
    eventually,
    next_event,
    next_message,
    nothing_comes,
)


async def test_enroll_tells_address_and_recovery_code_and_may_be_repeated(
    clinic: Clinic, tmp_path: Path
) -> None:
    name = f"u{uuid.uuid4().hex[:8]}"
    invitation = clinic.invitation(name, "doctor")
    first = await Messenger.enroll(invitation, str(tmp_path / "s.db"), passphrase="pass")
    assert first.address == f"{name}-1"
    assert first.recovery_code
    assert first.recovery_code not in repr(first)
    assert await Messenger.enroll(invitation, tmp_path / "s.db", passphrase="pass") == first
    with pytest.raises(StoreLockedError):
        await Messenger.enroll(invitation, tmp_path / "s.db", passphrase="other")
    with pytest.raises(AlreadyEnrolledError):
        await Messenger.enroll(
            clinic.invitation(f"{name}b", "doctor"), tmp_path / "s.db", passphrase="pass"
        )
    with pytest.raises(StoreMissingError):
        async with Messenger.open(tmp_path / "other.db"):
            pass
    async with Messenger.open(tmp_path / "s.db", passphrase="pass") as opened:
        assert (opened.address, opened.user, opened.role) == (f"{name}-1", name, "doctor")


async def test_a_text_is_delivered_read_and_answered(party: Party) -> None:
    doctor, patient = await party.pair()
    sent = await doctor.send(patient.user, "hello")
    await sent.delivered(timeout=PATIENCE)
    assert sent.devices == (patient.address,)
    assert await next_event(doctor, Delivered) == Delivered(
        MessageId(bytes.fromhex(sent.id)), patient.address
    )
    message = await next_message(patient)
    assert (message.id, message.text, message.data) == (sent.id, "hello", None)
    assert (message.sender, message.conversation, message.seq) == (doctor.user, doctor.user, 1)
    assert not message.after_gap
    with pytest.raises(DeliveryTimeoutError):
        await sent.read(timeout=0.2)
    await message.mark_read()
    await sent.read(timeout=PATIENCE)
    assert (await next_event(doctor, Read)).message_id.hex() == sent.id
    answer = await patient.send(doctor.user, "better", reply_to=message.id)
    await answer.delivered(PATIENCE, all_devices=True)
    assert (await next_message(doctor)).reply_to == sent.id


async def test_data_keeps_its_bytes_and_type(party: Party) -> None:
    doctor, patient = await party.pair()
    data = bytes(range(256)) * 100
    await doctor.send(patient.user, data=data, content_type="image/png")
    message = await next_message(patient)
    assert (message.text, message.data, message.content_type) == (None, data, "image/png")
    assert "image" not in repr(data)
    assert data.hex()[:20] not in repr(message)


async def test_what_can_never_be_sent_is_refused_and_not_queued(party: Party) -> None:
    doctor, patient = await party.pair()
    refused: tuple[tuple[type[MessagingError], Awaitable[object]], ...] = (
        (MisuseError, doctor.send(patient.user)),
        (MisuseError, doctor.send(patient.user, "text", data=b"data")),
        (MisuseError, doctor.send(doctor.user, "to myself")),
        (MisuseError, doctor.send(patient.user, "text", reply_to="not an id")),
        (MisuseError, doctor.send(patient.user, "lone surrogate \ud800")),
        (MessageTooLongError, doctor.send(patient.user, "x" * (MAX_TEXT_BYTES + 1))),
        (InvalidNameError, doctor.send("No Such Name!", "text")),
        (NotContactError, doctor.send("nobody_at_all", "text")),
    )
    for kind, sending in refused:
        with pytest.raises(kind):
            await sending
    assert await doctor.history(patient.user) == []
    await (await doctor.send(patient.user, "x" * MAX_TEXT_BYTES)).delivered(PATIENCE)


async def test_a_message_for_a_user_that_does_not_exist_fails_when_the_directory_is_reached(
    party: Party,
) -> None:
    name = await party.enrolled("doc", "doctor")
    offline = await party.opened(name, online=False)
    sent = await offline.send("nobody_at_all", "text")
    with pytest.raises(DeliveryTimeoutError):
        await sent.delivered(timeout=0)
    online = await party.opened(name)
    failed = await next_event(online, Failed)
    assert (failed.message_id.hex(), failed.reason) == (sent.id, "not_contact")
    with pytest.raises(DeliveryFailedError, match=r"no contact .*not_contact"):
        await sent.delivered(timeout=PATIENCE)


async def test_an_expired_message_is_not_shown(party: Party) -> None:
    doctor_name = await party.enrolled("doc", "doctor")
    patient_name = await party.enrolled("pat", "patient")
    doctor = await party.opened(doctor_name)
    gone = await doctor.send(patient_name, "only for a moment", expires_in=0.2)
    kept = await doctor.send(patient_name, "for good", expires_in=3600)
    await kept.published(PATIENCE)
    await asyncio.sleep(0.3)
    patient = await party.opened(patient_name)
    message = await next_message(patient)
    assert (message.id, message.text) == (kept.id, "for good")
    assert await nothing_comes(patient)
    states = {one.id: one.state for one in await patient.history(doctor.user)}
    assert states[kept.id] == "handled"
    assert gone.id not in states


async def test_history_is_paged_and_ordered(party: Party) -> None:
    doctor, patient = await party.pair()
    texts = [f"text {number}" for number in range(25)]
    for text in texts:
        last = await doctor.send(patient.user, text)
    await last.delivered(PATIENCE)
    for side, other in ((doctor, patient), (patient, doctor)):
        found: list[str | None] = []
        before: int | None = None
        while page := await side.history(other.user, limit=10, before=before):
            assert len(page) <= 10
            found = [one.text for one in page] + found
            before = page[0].position
        assert found == texts
        assert {one.outgoing for one in await side.history(other.user)} == {side is doctor}
    assert await doctor.history("nobody_at_all") == []
    with pytest.raises(MisuseError):
        await doctor.history(patient.user, limit=0)


async def test_contacts_and_safety_numbers(party: Party) -> None:
    doctor, patient = await party.pair()
    await eventually(lambda: lists(doctor, patient.user))
    (mine,) = [one for one in await doctor.contacts() if one.user == patient.user]
    assert (mine.role, mine.name) == ("patient", patient.user)
    number = await doctor.safety_number(patient.user)
    theirs = await patient.safety_number(doctor.user)
    assert number.digits == theirs.digits
    assert len(number.digits) == 60
    assert number.digits.isdigit()
    assert number.matches(str(theirs))
    assert not number.matches(theirs.digits[::-1])
    assert not number.matches("")
    with pytest.raises(NotContactError):
        await doctor.safety_number("nobody_at_all")


async def lists(messenger: Messenger, user: str) -> bool:
    return user in {one.user for one in await messenger.contacts()}


async def test_events_are_typed_records(party: Party) -> None:
    doctor, patient = await party.pair()
    await (await doctor.send(patient.user, "one")).delivered(PATIENCE)
    event = await next_event(doctor, Delivered)
    assert isinstance(event, Event)
    assert not isinstance(event, Expired)
