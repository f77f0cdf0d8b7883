"""Parties of which one has lost what the other sent."""

import hashlib

from client_sdk import entropy
from client_sdk.machine.control import FreshContent
from client_sdk.machine.healing import candidate
from client_sdk.machine.rows import Candidate, Message, MessageState, OutboxEnvelope, ResendDue
from client_sdk.machine.sending import FreshEnvelope, fresh_keys_wanted
from client_sdk.machine.state import PeerState
from client_sdk.wire.ids import DeviceAddress, EnvelopeId
from tests.unit.machine.machine_parties import NOW, Party, make_pair

BOB = DeviceAddress("bob-1")


def fresh(state: PeerState, device: DeviceAddress) -> FreshEnvelope:
    keys = entropy.draw_keys(fresh_keys_wanted(state, device))
    return FreshEnvelope(EnvelopeId(entropy.draw_id()), keys)


def content(state: PeerState, device: DeviceAddress) -> FreshContent:
    return FreshContent(entropy.draw_message_id(), fresh(state, device))


def talking() -> tuple[Party, Party]:
    """Return two contacts whose session both have used."""
    alice, bob = make_pair()
    bob.receive(alice.address, alice.send(bob))
    alice.receive(bob.address, bob.send(alice))
    return alice, bob


def stored(alice: Party, envelope: OutboxEnvelope) -> Message:
    """Return the message of an envelope as the store has it after the envelope was planned."""
    assert envelope.message_id is not None
    return alice.messages[envelope.message_id]._replace(
        state=MessageState.PUBLISHED, stream_id=alice.own.record.stream_id, sequence=3
    )


def lost(bob: Party, alice: Party, envelope: OutboxEnvelope) -> Candidate:
    return candidate(bob.arrived(alice.address, envelope), NOW)


def due_for(party: Party, envelope: OutboxEnvelope) -> ResendDue:
    digest = hashlib.sha256(envelope.payload).digest()[:8]
    return ResendDue(party.address, envelope.envelope_id, digest, NOW)
