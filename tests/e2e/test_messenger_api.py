"""The public API of one device, in this process, on a served system."""

import asyncio
import socket
import threading
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TypeVar

import pytest

from client_sdk import (
    DeliveryTimeoutError,
    MessagingError,
    Messenger,
    ReceivedMessage,
)
from client_sdk.delivery.errors import AlreadyEnrolledError, NotContactError
from client_sdk.handles import DeliveryFailedError
from client_sdk.machine.events import (
    ContactRequest,
    Delivered,
    Event,
    Expired,
    Failed,
    Read,
    SetAside,
)
from client_sdk.stores.errors import StoreLockedError, StoreMissingError
from client_sdk.wire.errors import InvalidNameError, MessageTooLongError, MisuseError
from client_sdk.wire.ids import MessageId
from client_sdk.wire.limits import MAX_TEXT_BYTES
from tests.e2e.clinic import Clinic

PATIENCE = 20.0

Wanted = TypeVar("Wanted")


class Party:
    """Opens messengers of new users, and closes all of them at the end of a test."""

    def __init__(self, clinic: Clinic, folder: Path, stack: AsyncExitStack) -> None:
        self.clinic = clinic
        self.folder = folder
        self._stack = stack

    def store(self, name: str) -> Path:
        return self.folder / f"{name}.db"

    async def enrolled(self, prefix: str, role: str | None = None) -> str:
        """Return the name of a new user."""
        name = f"{prefix}_{uuid.uuid4().hex[:8]}"
        invitation = await asyncio.to_thread(self.clinic.invitation, name, role)
        enrolled = await Messenger.enroll(invitation, self.store(name))
        assert enrolled.address == f"{name}-1"
        return name

    async def opened(self, name: str, *, online: bool = True) -> Messenger:
        opened = await self._stack.enter_async_context(
            Messenger.open(self.store(name), online=online)
        )
        if online:
            assert await opened.wait_connected(PATIENCE)
        return opened

    async def pair(self) -> tuple[Messenger, Messenger]:
        doctor = await self.opened(await self.enrolled("doc", "doctor"))
        patient = await self.opened(await self.enrolled("pat", "patient"))
        return doctor, patient

    async def strangers(self) -> tuple[Messenger, Messenger]:
        one, two = await self.enrolled("one"), await self.enrolled("two")
        return await self.opened(one), await self.opened(two)


@pytest.fixture
async def party(clinic: Clinic, tmp_path: Path) -> AsyncIterator[Party]:
    async with AsyncExitStack() as stack:
        yield Party(clinic, tmp_path, stack)


@pytest.fixture
async def open_party(open_house: Clinic, tmp_path: Path) -> AsyncIterator[Party]:
    async with AsyncExitStack() as stack:
        yield Party(open_house, tmp_path, stack)


async def next_message(messenger: Messenger) -> ReceivedMessage:
    """Take one message as handled."""
    messages = messenger.messages()
    async with asyncio.timeout(PATIENCE):
        message = await anext(messages)
    await messages.done()
    return message


async def next_event(messenger: Messenger, kind: type[Wanted]) -> Wanted:
    async with asyncio.timeout(PATIENCE):
        async for event in messenger.events():
            if isinstance(event, kind):
                return event
    raise AssertionError("events() ended")


def fail() -> None:
    raise ZeroDivisionError


async def nothing_comes(messenger: Messenger, seconds: float = 1.5) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await anext(messenger.messages())
    except TimeoutError:
        return True
    return False


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await holds():  # noqa: ASYNC110 - what is asked rings no bell
            await asyncio.sleep(0.05)


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
    with pytest.raises(DeliveryFailedError):
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


async def test_a_handler_that_raises_is_offered_a_message_three_times(party: Party) -> None:
    doctor, patient = await party.pair()
    poison = await doctor.send(patient.user, "poison")
    good = await doctor.send(patient.user, "good")
    await good.delivered(PATIENCE)
    tries = 0
    for _ in range(3):
        try:
            async with asyncio.timeout(PATIENCE):
                async for message in patient.messages():
                    assert message.id == poison.id
                    fail()
        except ZeroDivisionError:
            tries += 1
    assert tries == 3
    assert (await next_message(patient)).id == good.id
    aside = await next_event(patient, SetAside)
    assert (aside.message_id.hex(), aside.sender) == (poison.id, doctor.user)
    assert await nothing_comes(patient)
    states = {one.id: one.state for one in await patient.history(doctor.user)}
    assert states == {poison.id: "set_aside", good.id: "handled"}


async def test_a_message_is_handled_when_the_next_one_is_asked_for(party: Party) -> None:
    doctor_name = await party.enrolled("doc", "doctor")
    patient_name = await party.enrolled("pat", "patient")
    doctor = await party.opened(doctor_name)
    for text in ("one", "two"):
        await doctor.send(patient_name, text)
    seen: list[str | None] = []
    for _ in range(2):  # closed while the first one is being handled: offered once more
        async with Messenger.open(party.store(patient_name)) as patient, asyncio.timeout(PATIENCE):
            async for message in patient.messages():
                seen.append(message.text)
                break
    assert seen == ["one", "one"]
    patient = await party.opened(patient_name)
    async with asyncio.timeout(PATIENCE):
        async for message in patient.messages():
            seen.append(message.text)
            if message.text == "two":
                break
    assert seen == ["one", "one", "one", "two"]


async def test_a_second_loop_ends_the_first_with_a_clear_error(party: Party) -> None:
    doctor, _ = await party.pair()
    first = doctor.messages()
    waiting = asyncio.ensure_future(anext(first))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(anext(doctor.messages()))
    try:
        with pytest.raises(MisuseError, match="only one"):
            await asyncio.wait_for(waiting, PATIENCE)
    finally:
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)


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


async def test_strangers_ask_first_and_get_no_receipt_until_accepted(open_party: Party) -> None:
    one, two = await open_party.strangers()
    sent = await one.send(two.user, "do you know me?")
    assert await next_event(two, ContactRequest) == ContactRequest(one.user)
    (asked,) = await two.requests()
    assert (asked.conversation, asked.text) == (one.user, "do you know me?")
    with pytest.raises(DeliveryTimeoutError):
        await sent.delivered(timeout=2)
    assert await nothing_comes(two)
    await two.accept(one.user)
    assert (await next_message(two)).id == sent.id
    await sent.delivered(PATIENCE)
    assert await two.requests() == []
    await (await two.send(one.user, "now I do")).delivered(PATIENCE)
    assert (await next_message(one)).text == "now I do"


async def test_a_blocked_user_is_not_heard_until_unblocked(open_party: Party) -> None:
    one, two = await open_party.strangers()
    await (await one.send(two.user, "hello")).published(PATIENCE)
    await next_event(two, ContactRequest)
    await two.accept(one.user)
    assert (await next_message(two)).text == "hello"
    await two.block(one.user)
    lost = await one.send(two.user, "blocked")
    with pytest.raises(DeliveryTimeoutError):
        await lost.delivered(timeout=2)
    assert await nothing_comes(two, 0.5)
    with pytest.raises(MisuseError):
        await two.send(one.user, "to a blocked one")
    await two.unblock(one.user)
    heard = await one.send(two.user, "and now?")
    await heard.delivered(PATIENCE)
    assert (await next_message(two)).text == "and now?"


def only(tasks: set[asyncio.Task[object]]) -> Callable[[], Awaitable[bool]]:
    """Ask whether no other task is left; a cancelled one needs a turn of the loop to end."""

    async def holds() -> bool:
        return asyncio.all_tasks() == tasks

    return holds


async def test_leaving_the_context_ends_every_task_and_thread(party: Party) -> None:
    doctor_name = await party.enrolled("doc", "doctor")
    patient_name = await party.enrolled("pat", "patient")
    tasks, threads = asyncio.all_tasks(), set(threading.enumerate())
    with suppress(ZeroDivisionError):
        async with Messenger.open(party.store(doctor_name)) as doctor:
            assert await doctor.wait_connected(PATIENCE)
            await doctor.send(patient_name, "hello")
            raise ZeroDivisionError
    for _ in range(2):
        async with Messenger.open(party.store(doctor_name)) as doctor:
            assert await doctor.wait_connected(PATIENCE)
    async with Messenger.open(party.store(doctor_name)):
        pass  # closed before it could connect
    await eventually(only(tasks))
    kept = {one for one in threading.enumerate() if not one.name.startswith("asyncio_")}
    assert kept <= threads
    with pytest.raises(MessagingError):
        await doctor.send(patient_name, "after the end")


async def test_cancelling_the_app_closes_the_messenger(party: Party) -> None:
    name = await party.enrolled("doc", "doctor")
    tasks = asyncio.all_tasks()

    async def app() -> None:
        async with Messenger.open(party.store(name)) as messenger:
            opened.set()
            async for _ in messenger.messages():
                pass

    opened = asyncio.Event()
    running = asyncio.ensure_future(app())
    await asyncio.wait_for(opened.wait(), PATIENCE)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, PATIENCE)
    await eventually(only(tasks))


async def test_a_broker_that_never_answers_does_not_hold_up_closing(party: Party) -> None:
    name = await party.enrolled("doc", "doctor")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"mqtt://127.0.0.1:{silent.getsockname()[1]}"
        tasks = asyncio.all_tasks()
        async with asyncio.timeout(5):
            async with Messenger.open(party.store(name), broker_url=url) as messenger:
                assert not await messenger.wait_connected(0.5)
                await messenger.send("anybody", "queued all the same")
        await eventually(only(tasks))


async def test_events_are_typed_records(party: Party) -> None:
    doctor, patient = await party.pair()
    await (await doctor.send(patient.user, "one")).delivered(PATIENCE)
    event = await next_event(doctor, Delivered)
    assert isinstance(event, Event)
    assert not isinstance(event, Expired)
