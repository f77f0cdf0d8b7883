"""Lost, restored, copied and damaged state heals over a real broker, with real stores."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from client_sdk.machine.events import (
    CloneSuspected,
    RollbackSource,
    SessionDamaged,
    SessionRenewed,
    StoreRolledBack,
)
from tests.e2e.clinic import Clinic
from tests.e2e.ward import Ward, delivered, event, received, texts_from


@pytest.fixture
def ward(clinic: Clinic, tmp_path: Path) -> Ward:
    return Ward(clinic, tmp_path)


@pytest.fixture
def own_clinic(tmp_path: Path) -> Iterator[Clinic]:
    """A server that a test may stop, and whose files it may exchange."""
    with Clinic(tmp_path) as running:
        yield running


def copied(database: Path, to: Path) -> Path:
    """Copy a database that nobody has open; return where."""
    for suffix in ("", "-wal"):
        file = Path(f"{database}{suffix}")
        if file.exists():
            shutil.copy(file, f"{to}{suffix}")
    return to


def removed(database: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{database}{suffix}").unlink(missing_ok=True)


@pytest.mark.parametrize("whole_folder", [False, pytest.param(True, marks=pytest.mark.long)])
async def test_a_message_reaches_a_recipient_whose_store_was_restored_from_an_old_backup(
    ward: Ward, whole_folder: bool
) -> None:
    doctor, patient = await ward.pair()
    backup = ward.copy(patient, lock=whole_folder)
    await ward.talk(doctor, patient, "later", rounds=2)
    async with ward.opened(doctor) as sender:
        sent = await sender.send(patient, "sealed for the state that will be lost")
        ward.restore(patient, backup, lock=whole_folder)
        async with ward.opened(patient) as restored:
            noticed = await event(restored, lambda one: isinstance(one, StoreRolledBack))
            source = RollbackSource.DIRECTORY if whole_folder else RollbackSource.FILE
            assert noticed == StoreRolledBack(source)
            await delivered(sent)
            await received(restored, "sealed for the state that will be lost")
            await delivered(await restored.send(doctor, "and back"))
            await delivered(await sender.send(patient, "and on"))
        await received(sender, "and back")


@pytest.mark.parametrize("whole_folder", [False, pytest.param(True, marks=pytest.mark.long)])
async def test_a14_a_sender_restored_from_an_old_backup_starts_anew_before_it_sends(
    ward: Ward, whole_folder: bool
) -> None:
    doctor, patient = await ward.pair()
    backup = ward.copy(doctor, lock=whole_folder)
    await ward.talk(doctor, patient, "later", rounds=2)
    ward.restore(doctor, backup, lock=whole_folder)
    async with ward.opened(patient) as peer:
        async with ward.opened(doctor) as restored:
            first = await restored.send(patient, "the first from the backup")
            await delivered(first)
            await delivered(await peer.send(doctor, "heard you"))
            await received(restored, "heard you")
            noticed = await event(restored, lambda one: isinstance(one, StoreRolledBack))
            source = RollbackSource.DIRECTORY if whole_folder else RollbackSource.FILE
            assert noticed == StoreRolledBack(source)
        assert (await texts_from(peer, doctor)).count("the first from the backup") == 1


async def test_a15_of_two_copies_that_both_send_the_contact_learns_and_nothing_is_lost(
    ward: Ward,
) -> None:
    doctor, patient = await ward.pair()
    copy = ward.copy(doctor)
    async with ward.opened(patient) as peer:
        async with ward.opened(doctor) as original:
            await delivered(await original.send(patient, "from the original"))
        first = ward.copy(doctor)
        ward.restore(doctor, copy)
        ward.forget_lock(doctor)
        ward.forget_counters(doctor)  # nobody but the contact can notice
        async with ward.opened(doctor) as clone:
            sent = await clone.send(patient, "from the copy")
            assert await event(peer, lambda one: isinstance(one, CloneSuspected)) == (
                CloneSuspected(clone.address)
            )
            await delivered(sent)
            assert await event(clone, lambda one: isinstance(one, SessionRenewed)) == (
                SessionRenewed(peer.address)
            )
        ward.restore(doctor, first)
        async with ward.opened(doctor) as original:
            assert await event(original, lambda one: isinstance(one, StoreRolledBack))
            await delivered(await original.send(patient, "from the original again"))
        assert await texts_from(peer, doctor) == [
            "from the copy",
            "from the original",
            "from the original again",
            "start to 0",
        ]


@pytest.mark.parametrize("side", ["recipient", "sender"])
async def test_a_damaged_session_row_costs_a_new_session_and_nothing_else(
    ward: Ward, side: str
) -> None:
    doctor, patient = await ward.pair()
    other = await ward.enrol("pat", "patient")
    await ward.talk(doctor, other, "untouched")
    damaged = {"recipient": doctor, "sender": patient}[side]
    async with ward.opened(patient) as sender:
        await sender.send(doctor, "sealed before the damage")
    peer = {"recipient": patient, "sender": doctor}[side]
    ward.damage(damaged, "UPDATE sessions SET record = x'01ff00' WHERE device = ?", f"{peer}-1")
    async with ward.opened(doctor) as recipient, ward.opened(patient) as sender:
        opened = {"recipient": recipient, "sender": sender}[side]
        if side == "sender":
            await delivered(await sender.send(doctor, "sealed after it"))
        assert await event(opened, lambda one: isinstance(one, SessionDamaged)) == (
            SessionDamaged({"recipient": sender, "sender": recipient}[side].address)
        )
        await received(recipient, "sealed before the damage")
        await delivered(await recipient.send(patient, "an answer"))
        await received(sender, "an answer")
        async with ward.opened(other) as third:
            await delivered(await third.send(doctor, "other sessions are as they were"))
            await delivered(await recipient.send(other, "both ways"))
        for name in (patient, other):
            assert len(set(await texts_from(recipient, name))) == len(
                await texts_from(recipient, name)
            )


@pytest.mark.parametrize("loss", ["wiped", "rolled back"])
async def test_a_broker_that_lost_or_resurrected_mail_costs_no_message(
    own_clinic: Clinic, tmp_path: Path, loss: str
) -> None:
    ward = Ward(own_clinic, tmp_path)
    doctor, patient = await ward.pair()
    async with ward.opened(doctor) as sender:
        await (await sender.send(patient, "waits on the broker")).published(60)
    mail = own_clinic.data / "waiting_mail.sqlite3"
    own_clinic.stop()
    old_mail = copied(mail, tmp_path / "old mail")
    own_clinic.start()
    async with ward.opened(doctor) as sender, ward.opened(patient) as recipient:
        await received(recipient, "waits on the broker")
        await delivered(await recipient.send(doctor, "and back"))
        await received(sender, "and back")
    async with ward.opened(doctor) as sender:
        await (await sender.send(patient, "lost with the broker")).published(60)
    own_clinic.stop()
    removed(mail)
    if loss == "rolled back":
        copied(old_mail, mail)
    await asyncio.to_thread(own_clinic.start)
    async with ward.opened(doctor) as sender, ward.opened(patient) as recipient:
        await received(recipient, "lost with the broker")
        await delivered(await sender.send(patient, "on as before"))
        assert await texts_from(recipient, doctor) == [
            "lost with the broker",
            "on as before",
            "start to 0",
            "waits on the broker",
        ]


async def test_a_one_time_prekey_that_a_restored_directory_hands_out_twice_costs_no_message(
    own_clinic: Clinic, tmp_path: Path
) -> None:
    ward = Ward(own_clinic, tmp_path)
    doctor = await ward.enrol("doc", "doctor")
    first, second = await ward.enrol("pat", "patient"), await ward.enrol("pat", "patient")
    async with ward.opened(doctor):
        own_clinic.stop()
    database = own_clinic.data / "directory.db"
    old_database = copied(database, tmp_path / "old directory")
    await asyncio.to_thread(own_clinic.start)
    await ward.talk(first, doctor, "spends a prekey")
    own_clinic.stop()
    removed(database)
    copied(old_database, database)
    await asyncio.to_thread(own_clinic.start)
    async with ward.opened(doctor) as recipient, ward.opened(second) as sender:
        sent = await sender.send(doctor, "sealed with a spent prekey")
        assert await event(recipient, lambda one: isinstance(one, SessionRenewed))
        await delivered(sent)
        await received(recipient, "sealed with a spent prekey")
        await delivered(await recipient.send(second, "an answer"))
