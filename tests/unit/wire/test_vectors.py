"""The bytes of every record are frozen, and every negative vector fails in the layer it names.

``tests/vectors/wire.json`` holds one encoding of every kind, and data with exactly one fault each.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from client_sdk.wire import bundle, directory, enrollment, envelope, linking
from client_sdk.wire.codec import encode
from client_sdk.wire.errors import MalformedError, ProtocolError, TooLargeError
from client_sdk.wire.ids import EnvelopeId, SessionId
from client_sdk.wire.invitation import format_invitation, parse_invitation
from tests.unit.wire import samples
from tests.unit.wire.samples import ALICE_1, BOB_127, ID, RECORDS, fill

FILE = Path(__file__).parents[2] / "vectors" / "wire.json"
VECTORS: dict[str, Any] = json.loads(FILE.read_text())

SIGNED = {
    "device list": bundle.device_list_bytes(samples.LIST),
    "account endorsement": bundle.endorsement_bytes(ALICE_1, samples.LIST.account_key),
    "signed prekey": bundle.signed_prekey_bytes(ALICE_1, samples.SIGNED_PREKEY),
    "one-time KEM prekey": bundle.kem_prekey_bytes(ALICE_1, samples.KEM),
    "last-resort KEM prekey": bundle.kem_prekey_bytes(
        ALICE_1, samples.KEM._replace(last_resort=True)
    ),
    "account succession": bundle.succession_bytes(samples.ALICE, samples.LIST.account_key),
    "link offer": linking.offer_bytes(samples.LINK_CODE, samples.JOIN_SAMPLE),
    "link grant": linking.grant_bytes(
        samples.LINK_CODE, linking.OpenedGrant(samples.LIST, None, b"")
    ),
    "directory request": directory.request_bytes(samples.REQUEST),
    "directory reply": directory.reply_bytes(samples.REPLY),
    "directory event": directory.event_bytes(samples.EVENT),
    "enrolment reply": enrollment.enroll_reply_bytes(samples.ENROLLED),
    "associated data": envelope.associated_data(
        envelope.EnvelopeKind.PREKEY_MESSAGE,
        SessionId(fill(32, 30)),
        (ALICE_1, BOB_127),
        EnvelopeId(ID),
        b"header",
    ),
}


def _layer(error: ProtocolError) -> str:
    if isinstance(error, TooLargeError):
        return "size"
    text = str(error)
    if text.endswith("not the canonical encoding"):
        return "canonical"
    return "record" if text.endswith("not a valid record") else "msgpack"


def test_every_kind_of_record_has_a_vector() -> None:
    assert set(VECTORS["records"]) == set(RECORDS)
    assert set(VECTORS["signed"]) == set(SIGNED)


@pytest.mark.parametrize("name", RECORDS)
def test_the_bytes_of_a_record_are_frozen(name: str) -> None:
    kind, record = RECORDS[name]
    frozen = bytes.fromhex(VECTORS["records"][name])
    assert encode(record) == frozen
    assert kind.decode(frozen) == record


@pytest.mark.parametrize("name", SIGNED)
def test_the_bytes_that_are_signed_are_frozen(name: str) -> None:
    assert SIGNED[name].hex() == VECTORS["signed"][name]


def test_the_line_of_an_invitation_is_frozen() -> None:
    assert format_invitation(samples.INVITATION) == VECTORS["invitation"]
    assert parse_invitation(VECTORS["invitation"]) == samples.INVITATION


def test_the_line_of_a_link_code_is_frozen() -> None:
    assert linking.format_link_code(samples.LINK_CODE) == VECTORS["link code"]
    assert linking.parse_link_code(VECTORS["link code"]) == samples.LINK_CODE


def test_the_one_time_login_of_an_invitation_is_frozen() -> None:
    invitation = samples.INVITATION
    secret = enrollment.enroll_login_secret(invitation.invitation_id, invitation.password)
    assert secret.hex() == VECTORS["enrolment login"]


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: vector["why"])
def test_a_negative_vector_fails_in_the_layer_it_names(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["hex"]) * vector.get("times", 1)
    with pytest.raises(ProtocolError) as caught:
        RECORDS[vector["kind"]][0].decode(data)
    assert isinstance(caught.value, MalformedError | TooLargeError)
    assert _layer(caught.value) == vector["layer"]


def test_the_negative_vectors_reach_every_layer() -> None:
    assert {vector["layer"] for vector in VECTORS["refused"]} == {
        "size",
        "msgpack",
        "canonical",
        "record",
    }
