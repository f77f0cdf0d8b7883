"""Envelopes that are not opened, and content that is refused: nothing changes by them."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from client_sdk import entropy
from client_sdk.core.errors import AuthenticationError, DuplicateMessageError, UnknownSessionError
from client_sdk.core.session import encrypt, keys_wanted
from client_sdk.machine.errors import PrekeyGoneError, ReplayedHandshakeError, UnknownDeviceError
from client_sdk.machine.opening import open_envelope
from client_sdk.machine.receiving import MAX_SEQUENCE, plan_give_up
from client_sdk.machine.rows import OutboxEnvelope
from client_sdk.wire.codec import encode
from client_sdk.wire.content import ContentKind
from client_sdk.wire.envelope import ENVELOPE
from client_sdk.wire.errors import MalformedError, ProtocolError
from client_sdk.wire.ids import DeviceNumber, EnvelopeId
from tests.unit.machine.conversations import content_of, opened_conversation, sealed
from tests.unit.machine.machine_parties import NOW, Party, empty_state, make_pair, serialised

Broken = Callable[[Party, Party, OutboxEnvelope], OutboxEnvelope]


def bit_flipped(alice: Party, bob: Party, envelope: OutboxEnvelope) -> OutboxEnvelope:
    payload = bytearray(envelope.payload)
    payload[-1] ^= 1
    return envelope._replace(payload=bytes(payload))


def under_another_id(alice: Party, bob: Party, envelope: OutboxEnvelope) -> OutboxEnvelope:
    return envelope._replace(envelope_id=EnvelopeId(entropy.draw_id()))


def other_ciphertext(alice: Party, bob: Party, envelope: OutboxEnvelope) -> OutboxEnvelope:
    decoded = ENVELOPE.decode(envelope.payload)
    return envelope._replace(payload=encode(decoded._replace(ciphertext=bytes(272))))


@pytest.mark.parametrize("break_it", [bit_flipped, under_another_id, other_ciphertext])
@pytest.mark.parametrize("first", [True, False])
def test_an_envelope_that_does_not_open_leaves_every_byte_as_it_was(
    break_it: Broken, first: bool
) -> None:
    alice, bob = make_pair() if first else opened_conversation()
    envelope = alice.send(bob, "target")
    before = serialised(bob.state(alice.user)), dict(bob.prekeys), bob.state(alice.user)
    with pytest.raises(AuthenticationError):
        bob.receive(alice.address, break_it(alice, bob, envelope))
    after = serialised(bob.state(alice.user)), dict(bob.prekeys), bob.state(alice.user)
    assert after == before
    bob.receive(alice.address, envelope)
    assert bob.handed_over[-1] == "target"


def test_a_spent_message_key_is_refused_after_the_trace_was_forgotten() -> None:
    alice, bob = make_pair()
    envelope = alice.send(bob)
    bob.receive(alice.address, envelope)
    bob.opened.clear()
    with pytest.raises(DuplicateMessageError):
        bob.receive(alice.address, envelope)


def test_a_replayed_handshake_starts_no_second_session() -> None:
    alice, bob = make_pair()
    alice.begin(bob, bob.bundle(one_time=False))
    envelope = alice.send(bob)
    bob.receive(alice.address, envelope)
    bob.opened.clear()
    bob.states[alice.user] = empty_state(alice.user)
    bob.know(alice)
    with pytest.raises(ReplayedHandshakeError):
        bob.receive(alice.address, envelope)
    assert bob.handed_over == ["hello"]


def test_a_handshake_with_a_spent_prekey_is_refused() -> None:
    alice, bob = make_pair()
    bundle = bob.bundle()
    alice.begin(bob, bundle)
    bob.receive(alice.address, alice.send(bob))
    alice.begin(bob, bundle)
    with pytest.raises(PrekeyGoneError):
        bob.receive(alice.address, alice.send(bob, "second session from one bundle"))
    assert bob.handed_over == ["hello"]


def test_a_device_that_is_not_listed_is_not_believed() -> None:
    alice, bob = make_pair()
    envelope = alice.send(bob)
    bob.states[alice.user] = empty_state(alice.user)
    with pytest.raises(UnknownDeviceError):
        bob.receive(alice.address, envelope)
    bob.know(alice)
    other = alice.own.record.device_list.devices[0]._replace(number=DeviceNumber(2))
    state = bob.states[alice.user]
    assert state.device_list is not None
    changed = state.device_list._replace(devices=(other,))
    bob.states[alice.user] = replace(state, device_list=changed)
    with pytest.raises(UnknownDeviceError):
        bob.receive(alice.address, envelope)


def test_a_message_of_an_unknown_session_is_left_alone() -> None:
    alice, bob = opened_conversation()
    envelope = alice.send(bob)
    bob.states[alice.user] = empty_state(alice.user)
    bob.know(alice)
    arrived = bob.arrived(alice.address, envelope)
    with pytest.raises(UnknownSessionError):
        bob.handshake(bob.states[alice.user], arrived)
    with pytest.raises(UnknownSessionError):
        open_envelope(bob.own, bob.states[alice.user], arrived, None, NOW)


@pytest.mark.parametrize("payload", [b"", b"\x00", b"\xc1", bytes(300)])
def test_bytes_that_are_no_envelope_are_malformed(payload: bytes) -> None:
    alice, bob = make_pair()
    envelope = alice.send(bob)._replace(payload=payload)
    with pytest.raises(MalformedError):
        bob.arrived(alice.address, envelope)


@pytest.mark.parametrize(
    ("kind", "sequence", "body"),
    [
        (ContentKind.MESSAGE, 0, None),
        (ContentKind.MESSAGE, MAX_SEQUENCE + 1, None),
        (ContentKind.MESSAGE, 2, b"\x00"),
        (ContentKind.DELIVERED, 0, b"\x00"),
        (ContentKind.READ, 0, b"\x91\x90"),
    ],
)
def test_content_that_is_not_what_its_kind_says_is_refused(
    kind: ContentKind, sequence: int, body: bytes | None
) -> None:
    alice, bob = opened_conversation()
    content = content_of(alice, kind=kind, sequence=sequence)
    if body is not None:
        content = content._replace(body=body)
    with pytest.raises(ProtocolError):
        bob.receive(alice.address, sealed(alice, bob, content))
    assert bob.handed_over == ["first"]


def test_the_greatest_sequence_leaves_a_next_one_that_a_store_can_hold() -> None:
    alice, bob = opened_conversation()
    bob.receive(alice.address, sealed(alice, bob, content_of(alice, sequence=MAX_SEQUENCE)))
    state = bob.states[alice.user]
    (position,) = state.streams.values()
    moved, _, _ = plan_give_up(state, position, NOW)
    (position,) = moved.streams.values()
    assert position.next_sequence == 2**63 - 1


def test_content_that_is_not_padded_right_leaves_the_session_as_it_was() -> None:
    alice, bob = opened_conversation()
    record = alice.states[bob.user].sessions[bob.address]
    assert record.current is not None
    envelope_id = EnvelopeId(entropy.draw_id())
    fresh = entropy.draw_keys(keys_wanted(record.current))
    _, payload = encrypt(record.current, envelope_id, bytes(256), fresh)
    before = bob.states[alice.user]
    with pytest.raises(MalformedError):
        bob.receive(
            alice.address, OutboxEnvelope(envelope_id, bob.address, bob.user, None, payload, NOW)
        )
    assert bob.states[alice.user] == before
