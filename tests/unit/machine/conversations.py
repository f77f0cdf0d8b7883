"""Two parties in the midst of a conversation, and content that no honest device makes."""

from dataclasses import replace
from typing import Any

from client_sdk import entropy
from client_sdk.core.session import encrypt, keys_wanted
from client_sdk.core.session_record import update
from client_sdk.machine.rows import OutboxEnvelope
from client_sdk.wire.codec import encode
from client_sdk.wire.content import Content, ContentKind, MessageBody, encode_message_body, pad
from client_sdk.wire.ids import EnvelopeId
from tests.unit.machine.machine_parties import NOW, Party, make_pair


def opened_conversation() -> tuple[Party, Party]:
    """Return a pair of which each has decrypted a message of the other."""
    alice, bob = make_pair()
    bob.receive(alice.address, alice.send(bob, "first"))
    alice.receive(bob.address, bob.send(alice, "answer"))
    return alice, bob


def content_of(alice: Party, **fields: Any) -> Content:
    base = Content(
        message_id=entropy.draw_message_id(),
        stream_id=alice.own.record.stream_id,
        sequence=2,
        last_seen=(),
        sent_at=NOW,
        kind=ContentKind.MESSAGE,
        body=encode_message_body(MessageBody("text", None, None, None, None)),
        sender_list=alice.own.mark,
        recipient_list=alice.own.mark,
    )
    return base._replace(**fields)


def sealed(alice: Party, bob: Party, content: Content) -> OutboxEnvelope:
    """Return content that an honest device would not make, in an honest envelope."""
    record = alice.states[bob.user].sessions[bob.address]
    assert record.current is not None
    envelope_id = EnvelopeId(entropy.draw_id())
    fresh = entropy.draw_keys(keys_wanted(record.current))
    session, payload = encrypt(record.current, envelope_id, pad(encode(content)), fresh)
    state = alice.states[bob.user]
    sessions = {**state.sessions, bob.address: update(record, session)}
    alice.states[bob.user] = replace(state, sessions=sessions)
    return OutboxEnvelope(envelope_id, bob.address, bob.user, None, payload, NOW)
