"""First messages that come again: one plaintext, one session, and never the same key twice."""

from dataclasses import replace

import pytest

from client_sdk import entropy
from client_sdk.core.session_record import SessionRecord
from client_sdk.core.state_format import parse_record, serialize_record
from client_sdk.machine.errors import PrekeyGoneError, ReplayedHandshakeError
from client_sdk.machine.prekeys import (
    KEPT_AFTER_REPLACEMENT_MS,
    ROTATE_AFTER_MS,
    outlived,
)
from client_sdk.machine.rows import OutboxEnvelope, PrekeyKind
from client_sdk.machine.state import PeerState
from client_sdk.wire.bundle import DAY_MS, MAX_CLOCK_SKEW_MS, MAX_PREKEY_AGE_MS
from client_sdk.wire.envelope import ENVELOPE, RATCHET_HEADER
from client_sdk.wire.errors import ProtocolError
from client_sdk.wire.ids import EnvelopeId
from tests.unit.machine.machine_parties import NOW, Party, make_pair, serialised

REPLAYS = 100


def first_message() -> tuple[Party, Party, OutboxEnvelope]:
    """Return alice, bob and alice's first envelope, made without any one-time prekey."""
    alice, bob = make_pair()
    alice.begin(bob, bob.bundle(one_time=False))
    return alice, bob, alice.send(bob)


def restarted(state: PeerState) -> PeerState:
    """Return a state as it is read from the store after a restart."""
    sessions = {d: parse_record(serialize_record(one)) for d, one in state.sessions.items()}
    return replace(state, sessions=sessions)


def test_a4_a_first_message_three_times_gives_one_text_and_one_session() -> None:
    alice, bob, envelope = first_message()
    bob.receive(alice.address, envelope)
    after = serialised(bob.states[alice.user])
    bob.states[alice.user] = restarted(bob.states[alice.user])
    for _ in range(2):
        changes, events = bob.receive(alice.address, envelope)
        assert events == ()
        assert [one.message_id for one in changes.receipts_due] == [envelope.message_id]
        assert (changes.sessions, changes.messages, changes.handshakes) == ((), (), ())
    assert bob.handed_over == ["hello"]
    assert serialised(bob.states[alice.user]) == after


def test_a4_after_the_session_and_the_trace_are_deleted_it_still_begins_no_second() -> None:
    alice, bob, envelope = first_message()
    bob.receive(alice.address, envelope)
    bob.opened.clear()
    state = bob.states[alice.user]
    bob.states[alice.user] = replace(state, sessions={alice.address: SessionRecord()})
    with pytest.raises(ReplayedHandshakeError):
        bob.receive(alice.address, envelope)
    assert bob.handed_over == ["hello"]
    assert bob.states[alice.user].sessions == {alice.address: SessionRecord()}


def test_a4_under_another_envelope_id_it_does_not_open() -> None:
    alice, bob, envelope = first_message()
    bob.receive(alice.address, envelope)
    before = serialised(bob.states[alice.user])
    moved = envelope._replace(envelope_id=EnvelopeId(entropy.draw_id()))
    with pytest.raises(ProtocolError):
        bob.receive(alice.address, moved)
    assert serialised(bob.states[alice.user]) == before
    assert bob.handed_over == ["hello"]


def test_a4_the_private_half_of_a_replaced_prekey_goes_after_35_days_and_the_trace_with_it() -> (
    None
):
    alice, bob, envelope = first_message()
    old = list(bob.prekeys.values())
    new = [row._replace(id=row.id + 10, created_at=NOW + ROTATE_AFTER_MS) for row in old]
    replaced = NOW + ROTATE_AFTER_MS
    assert outlived([*old, *new], replaced + KEPT_AFTER_REPLACEMENT_MS) == ()
    gone = outlived([*old, *new], replaced + KEPT_AFTER_REPLACEMENT_MS + 1)
    assert set(gone) == {(row.kind, row.id) for row in old}
    assert {kind for kind, _ in gone} == {PrekeyKind.SIGNED, PrekeyKind.KEM_LAST_RESORT}
    for key in gone:
        del bob.prekeys[key]
    with pytest.raises(PrekeyGoneError):
        bob.receive(alice.address, envelope)


def test_a_prekey_is_kept_longer_than_any_bundle_with_it_is_used() -> None:
    assert KEPT_AFTER_REPLACEMENT_MS >= MAX_PREKEY_AGE_MS + MAX_CLOCK_SKEW_MS
    assert 2 * DAY_MS <= ROTATE_AFTER_MS <= 7 * DAY_MS


def test_a5_every_answer_to_a_replayed_first_message_is_under_a_fresh_ratchet_key() -> None:
    alice, bob, envelope = first_message()
    ratchet_keys: set[bytes] = set()
    payloads: set[bytes] = set()
    fresh = bob.state(alice.user)
    for _ in range(REPLAYS):  # a device that forgets everything in between, the worst case
        bob.states[alice.user] = fresh
        bob.handshakes.clear()
        bob.opened.clear()
        bob.messages.clear()
        bob.receive(alice.address, envelope)
        answer = bob.send(alice, "the same answer")
        ratchet_keys.add(RATCHET_HEADER.decode(ENVELOPE.decode(answer.payload).header).ratchet_key)
        payloads.add(ENVELOPE.decode(answer.payload).ciphertext)
    assert len(ratchet_keys) == len(payloads) == REPLAYS
