"""The trap: 100 unanswered each way, one dropped in the middle and returned later."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from client_sdk.machine.events import Gap
from tests.e2e.clinic import Clinic
from tests.e2e.ward import PATIENCE, Ward, delivered, event, received, texts_from

COUNT = 100
MOST_RECEIPTS = 12
"""Envelopes of one side beside its messages: receipts of a hundred each, some made early."""


@pytest.fixture
def own_clinic(tmp_path: Path) -> Iterator[Clinic]:
    """A server that this test stops, and whose waiting mail it takes out and puts back."""
    with Clinic(tmp_path) as running:
        yield running


@pytest.mark.long
async def test_a_hundred_each_way_with_one_late_lose_nothing_and_make_few_envelopes(
    own_clinic: Clinic, tmp_path: Path
) -> None:
    ward = Ward(own_clinic, tmp_path)
    doctor, patient = await ward.pair()
    made = {name: ward.envelopes_made(name) for name in (doctor, patient)}
    waiting = {}
    for name, other in ((doctor, patient), (patient, doctor)):
        async with ward.opened(name) as sender:
            for number in range(COUNT):
                sent = await sender.send(other, f"{number}")
            await sent.published(PATIENCE)
        own_clinic.stop()
        waiting[other] = ward.take_mail(other)
        own_clinic.start()
    assert len(waiting[doctor]) == len(waiting[patient]) == COUNT
    own_clinic.stop()
    late = waiting[patient].pop(COUNT // 2)
    ward.put_mail(waiting[patient])
    own_clinic.start()
    async with ward.opened(patient) as recipient:
        assert await event(recipient, lambda one: isinstance(one, Gap))
        assert len(await texts_from(recipient, doctor)) == COUNT  # the first one, and 99
    own_clinic.stop()
    ward.put_mail([late])
    own_clinic.start()
    expected = sorted(["start to 0", *map(str, range(COUNT))])
    async with ward.opened(doctor) as one, ward.opened(patient) as two:
        await received(one, f"{COUNT - 1}")
        await delivered(await one.send(patient, "last"))
        await delivered(await two.send(doctor, "last"))
        assert await texts_from(two, doctor) == sorted([*expected, "last"])
        assert (await one.counts()).under_way == (await two.counts()).under_way == 0
    for name in (doctor, patient):
        others = ward.envelopes_made(name) - made[name] - COUNT - 1
        assert 0 < others <= MOST_RECEIPTS
