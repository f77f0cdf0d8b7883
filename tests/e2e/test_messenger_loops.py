"""Loops over messages, and how a messenger ends, on a served system."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from client_sdk import MessagingError, Messenger
from client_sdk.machine.events import SetAside
from client_sdk.wire.errors import MisuseError
from tests.e2e.messengers import (
    PATIENCE,
    Party,
    eventually,
    next_event,
    next_message,
    nothing_comes,
)


def fail() -> None:
    raise ZeroDivisionError


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
