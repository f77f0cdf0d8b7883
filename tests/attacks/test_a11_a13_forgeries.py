"""A11, A12, A13: whatever is forged on the way, not one byte of the receiver changes."""

import random

import pytest

from client_sdk.core.chain import MAX_JUMP
from client_sdk.core.errors import AuthenticationError, SkippedTooFarError
from client_sdk.machine.rows import OutboxEnvelope
from client_sdk.wire.envelope import ENVELOPE, MAX_MESSAGE_NUMBER, RATCHET_HEADER
from client_sdk.wire.errors import ProtocolError
from tests.attacks.scene import (
    everything,
    opened_pair,
    refused,
    some_point,
    times,
    with_header,
    with_kem_bit,
    with_payload,
)
from tests.unit.machine.machine_parties import Party, make_pair, serialised

SEED = 13
pytestmark = pytest.mark.timeout(times(3600, 120))


def test_a11_a_flipped_kem_bit_makes_no_session_and_spends_no_prekey() -> None:
    alice, bob = make_pair()
    honest = alice.send(bob, "honest")
    for bit in range(0, 1568 * 8, 12543 // times(200, 8)):
        assert refused(bob, alice, with_kem_bit(honest, bit)) is AuthenticationError
    assert bob.states[alice.user].sessions == {}
    bob.receive(alice.address, honest)
    assert bob.handed_over == ["honest"]
    assert bob.states[alice.user].sessions != {}


def test_a12_huge_numbers_in_every_field_are_refused_and_change_nothing() -> None:
    alice, bob = opened_pair()
    honest = alice.send(bob, "honest")
    number = RATCHET_HEADER.decode(ENVELOPE.decode(honest.payload).header).message_number
    for far in (number + MAX_JUMP + 1, 2**31, MAX_MESSAGE_NUMBER):
        forged = with_header(honest, message_number=far)
        assert refused(bob, alice, forged) is SkippedTooFarError
        forged = with_header(honest, message_number=far, ratchet_key=some_point())
        assert refused(bob, alice, forged) is SkippedTooFarError
        forged = with_header(honest, previous_chain_length=far, ratchet_key=some_point())
        refused(bob, alice, forged)


def test_a12_ever_new_ratchet_keys_leave_no_chain_behind() -> None:
    alice, bob = opened_pair()
    honest = alice.send(bob, "honest")
    before = serialised(bob.states[alice.user])
    for _ in range(times(100_000, 200)):
        assert refused_quickly(bob, alice, with_header(honest, ratchet_key=some_point()))
    assert serialised(bob.states[alice.user]) == before
    bob.receive(alice.address, honest)
    assert bob.handed_over[-1] == "honest"


def refused_quickly(bob: Party, alice: Party, envelope: OutboxEnvelope) -> bool:
    try:
        bob.receive(alice.address, envelope)
    except ProtocolError:
        return True
    return False


def mutated(draw: random.Random, payload: bytes) -> bytes:
    """Return ``payload`` with one to three bytes changed, put in or cut out."""
    data = bytearray(payload)
    for _ in range(draw.randint(1, 3)):
        at = draw.randrange(len(data))
        match draw.randrange(4):
            case 0:
                data[at] ^= 1 << draw.randrange(8)
            case 1:
                data[at] = draw.randrange(256)
            case 2:
                data.insert(at, draw.randrange(256))
            case _:
                del data[at]
    return bytes(data)


def test_a13_however_many_mutated_envelopes_change_nothing() -> None:
    print(f"seed {SEED}")
    draw = random.Random(SEED)
    first_alice, first_bob = make_pair()
    alice, bob = opened_pair()
    scenes = [(first_alice, first_bob), (alice, bob)]
    honest = [sender.send(receiver, "honest") for sender, receiver in scenes]
    before = [everything(receiver) for _, receiver in scenes]
    for _ in range(times(50_000, 250)):
        for (sender, receiver), envelope in zip(scenes, honest, strict=True):
            payload = mutated(draw, envelope.payload)
            if payload != envelope.payload:
                assert refused_quickly(receiver, sender, with_payload(envelope, payload))
    assert [everything(receiver) for _, receiver in scenes] == before
    for (sender, receiver), envelope in zip(scenes, honest, strict=True):
        receiver.receive(sender.address, envelope)
        assert receiver.handed_over[-1] == "honest"
