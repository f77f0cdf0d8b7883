"""What is signed in one place is never valid in another, and leaves no field out."""

from typing import Any

import pytest

from client_sdk.wire import bundle, directory, enrollment, envelope
from client_sdk.wire.codec import encode
from client_sdk.wire.encoded_keys import KemPrekey, SignedPrekey
from client_sdk.wire.envelope import EnvelopeKind
from client_sdk.wire.ids import DeviceNumber, DirectoryId, EnvelopeId, InvitationId, SessionId
from tests.unit.wire import samples
from tests.unit.wire.samples import ALICE_1, BOB_127, ID, fill

ONE_KEY = fill(33, 77)
LAST_RESORT = samples.KEM._replace(last_resort=True)

# The same owner, key, id and time in every slot: only context and type byte can tell them apart.
SLOTS: dict[str, bytes] = {
    "device list": bundle.device_list_bytes(samples.LIST),
    "account endorsement": bundle.endorsement_bytes(ALICE_1, samples.LIST.account_key),
    "signed prekey": bundle.signed_prekey_bytes(
        ALICE_1, samples.SIGNED_PREKEY._replace(id=3, key=SignedPrekey(ONE_KEY))
    ),
    "one-time KEM prekey": bundle.kem_prekey_bytes(
        ALICE_1, samples.KEM._replace(key=KemPrekey(ONE_KEY))
    ),
    "last-resort KEM prekey": bundle.kem_prekey_bytes(
        ALICE_1, LAST_RESORT._replace(key=KemPrekey(ONE_KEY))
    ),
    "directory request": directory.request_bytes(samples.REQUEST),
    "directory reply": directory.reply_bytes(samples.REPLY),
    "directory event": directory.event_bytes(samples.EVENT),
    "enrolment reply": enrollment.enroll_reply_bytes(samples.ENROLLED),
    "enrolment info": enrollment.enroll_info(DirectoryId(ID), InvitationId(ID)),
    "enrolled info": enrollment.enrolled_info(DirectoryId(ID), InvitationId(ID)),
    "message": envelope.associated_data(
        EnvelopeKind.MESSAGE, SessionId(fill(32, 1)), (ALICE_1, BOB_127), EnvelopeId(ID), b"header"
    ),
}


def _context(signed: bytes) -> bytes:
    """Return the context string that signed bytes begin with, its msgpack header included."""
    assert 0x90 <= signed[0] <= 0x9F
    length, start = (signed[1] & 0x1F, 2) if signed[1] != 0xD9 else (signed[2], 3)
    return signed[1 : start + length]


@pytest.mark.parametrize("slot", SLOTS)
def test_a3_bytes_signed_for_one_slot_are_no_other_slots_bytes(slot: str) -> None:
    for other, signed in SLOTS.items():
        if other != slot:
            assert signed != SLOTS[slot]
            assert _context(signed) != _context(SLOTS[slot])


@pytest.mark.parametrize("slot", SLOTS)
def test_a3_every_context_names_project_and_version(slot: str) -> None:
    assert b"RatchetMQ/1 " in _context(SLOTS[slot])


def test_a3_signed_bytes_name_their_owner() -> None:
    assert bundle.signed_prekey_bytes(ALICE_1, samples.SIGNED_PREKEY) != (
        bundle.signed_prekey_bytes(BOB_127, samples.SIGNED_PREKEY)
    )
    assert bundle.kem_prekey_bytes(ALICE_1, samples.KEM) != (
        bundle.kem_prekey_bytes(BOB_127, samples.KEM)
    )
    assert bundle.endorsement_bytes(ALICE_1, samples.LIST.account_key) != (
        bundle.endorsement_bytes(BOB_127, samples.LIST.account_key)
    )


def _variants(record: Any) -> list[Any]:
    """Return one changed copy of a record for every field but the signature."""
    changed = []
    for field, value in zip(record._fields, record, strict=True):
        if field == "signature":
            continue
        match value:
            case bool():
                other: object = not value
            case int():
                other = value + 1
            case str():
                other = value + "x"
            case bytes():
                other = value[:-1] + bytes([value[-1] ^ 1])
            case _:
                other = (*value, *value)
        changed.append(record._replace(**{field: other}))
    return changed


def _signed(name: str, record: Any) -> bytes:
    match name:
        case "device list":
            return bundle.device_list_bytes(record)
        case "signed prekey":
            return bundle.signed_prekey_bytes(ALICE_1, record)
        case "KEM prekey":
            return bundle.kem_prekey_bytes(ALICE_1, record)
        case "request":
            return directory.request_bytes(record)
        case "reply":
            return directory.reply_bytes(record)
        case "event":
            return directory.event_bytes(record)
        case _:
            return enrollment.enroll_reply_bytes(record)


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("device list", samples.LIST),
        ("signed prekey", samples.SIGNED_PREKEY),
        ("KEM prekey", samples.KEM),
        ("request", samples.REQUEST),
        ("reply", samples.REPLY),
        ("event", samples.EVENT),
        ("enrolment reply", samples.ENROLLED),
    ],
)
def test_every_field_is_signed_and_the_signature_is_not(name: str, record: Any) -> None:
    signed = [_signed(name, variant) for variant in (record, *_variants(record))]
    assert len(set(signed)) == len(record)  # every field but the signature, and the original
    assert _signed(name, record._replace(signature=bytes(64))) == signed[0]


def test_a47_associated_data_binds_every_party_and_place() -> None:
    session, other = SessionId(fill(32, 1)), SessionId(fill(32, 2))
    name, next_name = EnvelopeId(ID), EnvelopeId("a" * 26)
    bound = {
        envelope.associated_data(kind, session_id, parties, envelope_id, header)
        for kind in EnvelopeKind
        for session_id in (session, other)
        for parties in ((ALICE_1, BOB_127), (BOB_127, ALICE_1), (ALICE_1, ALICE_1))
        for envelope_id in (name, next_name)
        for header in (b"", b"header")
    }
    assert len(bound) == 2 * 2 * 3 * 2 * 2


def test_a_list_names_the_one_before_by_its_whole_hash() -> None:
    first = samples.LIST
    second = first._replace(version=2, previous_hash=bundle.device_list_hash(first))
    assert bundle.DEVICE_LIST.decode(encode(second)) == second
    assert bundle.device_list_hash(first) != bundle.device_list_hash(
        first._replace(signature=samples.Signature(bytes(64)))
    )
    assert bundle.list_mark(second) == (2, bundle.device_list_hash(second)[:16])


def test_devices_are_found_by_number() -> None:
    second = samples.ENTRY._replace(number=DeviceNumber(2))
    both = samples.LIST._replace(devices=(samples.ENTRY, second))
    assert bundle.device_entry(both, DeviceNumber(2)) == second
    assert bundle.device_entry(both, DeviceNumber(3)) is None
    assert bundle.addresses(both) == ("alice-1", "alice-2")


def test_a32_a_reply_is_for_one_request_of_one_device_only() -> None:
    assert directory.is_for(samples.REPLY, samples.REQUEST, ALICE_1)
    assert not directory.is_for(samples.REPLY, samples.REQUEST, BOB_127)
    for field, value in {
        "directory_id": "a" * 26,
        "device": BOB_127,
        "request_id": "a" * 26,
        "nonce": bytes(16),
    }.items():
        assert not directory.is_for(
            samples.REPLY._replace(**{field: value}), samples.REQUEST, ALICE_1
        )
