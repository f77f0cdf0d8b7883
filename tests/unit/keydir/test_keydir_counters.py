"""The directory keeps the highest report of every device's store, and says what was before."""

from client_sdk.wire.codec import encode
from client_sdk.wire.directory import Action, Status
from client_sdk.wire.healing import COUNTERS_REPLY, StoreCounters
from tests.unit.keydir.keydir_parties import DeviceParty, DirectoryParty

OPEN, OTHER = bytes(16), b"\x01" * 16


def report(
    directory: DirectoryParty, device: DeviceParty, counters: StoreCounters
) -> StoreCounters | None:
    reply = directory.ask(device, Action.REPORT_COUNTERS, encode(counters))
    assert reply.status is Status.OK
    return COUNTERS_REPLY.decode(reply.body).before


def test_a_device_is_told_the_highest_report_before_its_own(directory: DirectoryParty) -> None:
    doctor = directory.enrolled("dora", "doctor")
    newer, older = StoreCounters(2, 20, OPEN), StoreCounters(1, 30, OTHER)
    assert report(directory, doctor, newer) is None
    assert report(directory, doctor, older) == newer
    assert report(directory, doctor, newer) == newer


def test_a_report_is_of_the_device_that_signed_it(directory: DirectoryParty) -> None:
    doctor, patient = directory.enrolled("dora", "doctor"), directory.enrolled("pat", "patient")
    report(directory, doctor, StoreCounters(9, 9, OPEN))
    assert report(directory, patient, StoreCounters(1, 1, OTHER)) is None


def test_an_action_that_the_directory_does_not_know_is_a_bad_request(
    directory: DirectoryParty,
) -> None:
    doctor = directory.enrolled("dora", "doctor")
    unknown: Action = 15  # type: ignore[assignment]
    assert directory.ask(doctor, unknown).status is Status.BAD_REQUEST
