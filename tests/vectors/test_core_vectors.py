"""The core's bytes are frozen: a change here is a change of the protocol or of the stored state."""

import json
from typing import Any

import pytest

from client_sdk.core.fingerprint import half, numeric
from client_sdk.core.kdf import epoch_key
from client_sdk.core.kem_keys import MlKem768KeyPair
from client_sdk.core.keys import Encapsulation
from client_sdk.core.pqxdh import accept
from client_sdk.core.recovery_code import decode_recovery_code
from client_sdk.core.session import accept_session, decrypt, handshake_of
from client_sdk.core.signatures import verify_bundle
from client_sdk.core.state_format import parse_record, serialize_record
from client_sdk.wire.bundle import PREKEY_BUNDLE
from client_sdk.wire.envelope import ENVELOPE, RATCHET_HEADER
from client_sdk.wire.errors import ProtocolError
from client_sdk.wire.ids import EnvelopeId
from client_sdk.wire.pq_message import PqPart, decode_pq_message
from tests.vectors.core_parties import NOW, Party
from tests.vectors.core_vectors import PATH, build

FROZEN: dict[str, Any] = json.loads(PATH.read_text())
ALICE, BOB = Party("alice"), Party("bob")


def frozen(encapsulation: dict[str, str]) -> Encapsulation:
    secret, ciphertext = (
        bytes.fromhex(encapsulation[name]) for name in ("shared_secret", "ciphertext")
    )
    return Encapsulation(secret, ciphertext)


@pytest.fixture(scope="module")
def rebuilt() -> dict[str, Any]:
    return build(frozen(FROZEN["encapsulation"]), frozen(FROZEN["epoch"]["encapsulation"]))


@pytest.mark.parametrize("part", sorted(FROZEN))
def test_the_same_keys_give_the_frozen_bytes(rebuilt: dict[str, Any], part: str) -> None:
    assert rebuilt[part] == FROZEN[part]


def test_the_frozen_bundle_is_accepted() -> None:
    verify_bundle(PREKEY_BUNDLE.decode(bytes.fromhex(FROZEN["bundle"])), NOW)


def test_the_responder_computes_the_frozen_handshake_from_the_frozen_envelope() -> None:
    header = handshake_of(ENVELOPE.decode(bytes.fromhex(FROZEN["envelopes"][0]["bytes"])))
    assert header is not None
    secrets = accept(BOB.local(), ALICE.remote(), BOB.prekeys(), header.handshake)
    expected = FROZEN["handshake"]
    assert secrets.root_key.hex() == expected["root_key"]
    assert secrets.pq_seed.hex() == expected["pq_seed"]
    assert secrets.session_id.hex() == expected["session_id"]
    assert header.ratchet.session_tag.hex() == expected["session_tag"]


def test_the_responder_opens_the_frozen_first_messages_in_any_order() -> None:
    for order in ((0, 1), (1, 0)):
        first = ENVELOPE.decode(bytes.fromhex(FROZEN["envelopes"][order[0]]["bytes"]))
        header = handshake_of(first)
        assert header is not None
        session = accept_session(BOB.local(), ALICE.remote(), BOB.prekeys(), header)
        for index in order:
            vector = FROZEN["envelopes"][index]
            envelope = ENVELOPE.decode(bytes.fromhex(vector["bytes"]))
            session, plaintext = decrypt(session, EnvelopeId(vector["id"]), envelope)
            assert plaintext.decode().rstrip(".") == vector["text"].rstrip(".")


@pytest.mark.parametrize("vector", FROZEN["refused"], ids=lambda vector: vector["fault"])
def test_an_envelope_with_one_fault_is_refused_by_the_layer_that_must(
    vector: dict[str, str],
) -> None:
    record = parse_record(bytes.fromhex(FROZEN["state"]))
    assert record.current is not None
    with pytest.raises(ProtocolError) as caught:
        decrypt(
            record.current,
            EnvelopeId(FROZEN["envelopes"][3]["id"]),
            ENVELOPE.decode(bytes.fromhex(vector["bytes"])),
        )
    assert caught.value.code == vector["code"]
    assert serialize_record(record).hex() == FROZEN["state"]


def test_the_frozen_state_reads_and_goes_on() -> None:
    record = parse_record(bytes.fromhex(FROZEN["state"]))
    assert record.current is not None
    vector = FROZEN["envelopes"][3]
    envelope = ENVELOPE.decode(bytes.fromhex(vector["bytes"]))
    _, plaintext = decrypt(record.current, EnvelopeId(vector["id"]), envelope)
    assert plaintext.startswith(b"good..")


def test_the_frozen_key_pair_computes_the_frozen_epoch_key() -> None:
    epoch = FROZEN["epoch"]
    pair = MlKem768KeyPair.from_seed(bytes.fromhex(epoch["key_seed"]))
    assert pair.public.hex() == epoch["encapsulation_key"]
    secret, ciphertext = frozen(epoch["encapsulation"])
    assert pair.decapsulate(ciphertext) == secret
    assert epoch_key(secret, 1, pair.public + ciphertext).hex() == epoch["epoch_key"]


def test_the_frozen_chunks_hold_the_frozen_key_and_ciphertext() -> None:
    epoch = FROZEN["epoch"]
    parts: dict[PqPart, bytes] = dict.fromkeys(PqPart, b"")
    reply = ENVELOPE.decode(bytes.fromhex(FROZEN["envelopes"][2]["bytes"]))
    places = [RATCHET_HEADER.decode(reply.header).pq_message.hex(), *epoch["pq_messages"]]
    for place in places:
        chunk = decode_pq_message(bytes.fromhex(place)).chunk
        if chunk is not None and chunk.number * 96 == len(parts[chunk.part]):
            parts[chunk.part] += chunk.data
    assert parts[PqPart.ENCAPSULATION_KEY][:1185].hex() == epoch["encapsulation_key"]
    assert parts[PqPart.CIPHERTEXT][:1088].hex() == epoch["encapsulation"]["ciphertext"]


def test_the_frozen_state_takes_the_new_epoch_in() -> None:
    epoch = FROZEN["epoch"]
    record = parse_record(bytes.fromhex(epoch["state_before"]))
    assert record.current is not None
    assert record.current.ratchet.roots.epoch == 0
    envelope = ENVELOPE.decode(bytes.fromhex(epoch["first_envelope"]["bytes"]))
    session, plaintext = decrypt(
        record.current, EnvelopeId(epoch["first_envelope"]["id"]), envelope
    )
    assert plaintext.startswith(b"one..")
    assert session.ratchet.roots.epoch == 1
    assert session.ratchet.roots.pq.hex() == epoch["pq_root"]


def test_the_frozen_recovery_code_is_alices() -> None:
    assert decode_recovery_code(FROZEN["recovery_code"]) == ALICE.account


def test_published_fingerprint_vectors_of_libsignal() -> None:
    """Values of the tests of libsignal's numeric fingerprint, 5,200 iterations."""
    alice = bytes.fromhex("0506863bc66d02b40d27b8d49ca7c09e9239236f9d7d25d6fcca5ce13c7064d868")
    bob = bytes.fromhex("05f781b6fb32fed9ba1cf2de978d4d5da28dc34046ae814402b5c0dbd96fda907b")
    expected = "300354477692869396892869876765458257569162576843440918079131"
    assert numeric(b"+14152222222", alice, b"+14153333333", bob) == expected
    assert numeric(b"+14153333333", bob, b"+14152222222", alice) == expected
    assert half(b"+14152222222", alice, 5200) == expected[:30]
