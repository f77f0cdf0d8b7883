"""What is sealed again, and for whom."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from client_sdk import entropy
from client_sdk.machine.healing import RESEND_LIFETIME_MS, may_resend, plan_resend
from client_sdk.machine.opening import open_envelope
from client_sdk.machine.rows import Late, Message, MessageState, OutboxEnvelope, ResendDue
from client_sdk.machine.state import PeerState
from client_sdk.wire.ids import DeviceAddress, UserName
from tests.unit.machine.healing_parties import due_for, fresh, stored, talking
from tests.unit.machine.machine_parties import NOW, empty_state, make_party


class Asked(NamedTuple):
    """Everything that the decision to seal a message again is made of."""

    state: PeerState
    due: ResendDue
    envelope: OutboxEnvelope
    message: Message

    def with_message(self, **changes: Any) -> "Asked":
        return self._replace(message=self.message._replace(**changes))

    def with_peer(self, **changes: Any) -> "Asked":
        return self._replace(state=replace(self.state, peer=self.state.peer._replace(**changes)))


OTHER_KEY = make_party("bob").own.local.identity.public
REFUSED: dict[str, Callable[[Asked], Asked]] = {
    "another device": lambda one: one._replace(due=one.due._replace(device=DeviceAddress("bob-2"))),
    "sealed for another device": lambda one: one._replace(
        envelope=one.envelope._replace(recipient=DeviceAddress("bob-2"))
    ),
    "another identity key": lambda one: one._replace(
        envelope=one.envelope._replace(identity_key=OTHER_KEY)
    ),
    "another envelope": lambda one: one._replace(due=one.due._replace(digest=bytes(8))),
    "a removed device": lambda one: one._replace(state=replace(one.state, device_list=None)),
    "expired": lambda one: one.with_message(state=MessageState.EXPIRED),
    "expired now": lambda one: one.with_message(expires_at=NOW),
    "too old": lambda one: one.with_message(sent_at=NOW - RESEND_LIFETIME_MS),
    "given up": lambda one: one.with_message(state=MessageState.FAILED),
    "not sent yet": lambda one: one.with_message(state=MessageState.QUEUED),
    "not ours": lambda one: one.with_message(outgoing=False),
    "another conversation": lambda one: one.with_message(conversation=UserName("carol")),
    "blocked": lambda one: one.with_peer(blocked=True),
    "withdrawn": lambda one: one.with_peer(relation=None),
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_message_is_sealed_again_for_the_device_that_it_was_sent_to_and_nobody_else(
    why: str,
) -> None:
    alice, bob = talking()
    envelope = alice.send(bob)
    asked = Asked(alice.states[bob.user], due_for(bob, envelope), envelope, stored(alice, envelope))
    assert may_resend(*asked, NOW)
    assert not may_resend(*REFUSED[why](asked), NOW)


@pytest.mark.parametrize("state", ["delivered", "read", "planned"])
def test_a_message_that_another_device_has_is_still_sealed_again_for_this_one(state: str) -> None:
    alice, bob = talking()
    envelope = alice.send(bob)
    message = stored(alice, envelope)._replace(state=MessageState(state), expires_at=NOW + 1)
    due = due_for(bob, envelope)
    assert may_resend(alice.states[bob.user], due, envelope, message, NOW)


def test_a_message_sealed_again_says_where_the_stream_of_its_device_starts() -> None:
    alice, bob = talking()
    first, envelope = alice.send(bob), alice.send(bob)
    state = alice.states[bob.user]
    again = (envelope, stored(alice, envelope))
    for start, told in ((first, 2), (None, 3)):
        starts = {bob.address: 2} if start else {}
        known = replace(state, starts=starts)
        _, changes = plan_resend(alice.own, known, again, fresh(known, bob.address), NOW)
        bobs = replace(bob.states[alice.user], streams={})
        bob.states[alice.user] = bobs
        opened = open_envelope(
            bob.own, bobs, bob.arrived(alice.address, changes.envelopes[0]), None, NOW
        )[1]
        assert opened.content.stream_start == told


def test_a_message_of_an_earlier_stream_sealed_again_starts_that_stream_by_itself() -> None:
    alice, bob = talking()
    alice.send(bob)
    envelope = alice.send(bob)
    state = replace(alice.states[bob.user], starts={bob.address: 1})
    message = stored(alice, envelope)._replace(stream_id=entropy.draw_stream_id(), sequence=9)
    _, changes = plan_resend(alice.own, state, (envelope, message), fresh(state, bob.address), NOW)
    _, events = bob.receive(alice.address, changes.envelopes[0])
    assert events == ()
    assert bob.handed_over == ["hello", "hello"]


def test_a_copy_that_ones_own_device_lost_is_late_again_and_keeps_its_number() -> None:
    alice, bob = talking()
    envelope = alice.send(bob)
    to_own = envelope._replace(recipient=DeviceAddress("alice-2"), user=alice.user)
    own = PeerState(3, empty_state(alice.user).peer, None, {}, {}, alice.address)
    again = (to_own, stored(alice, envelope))
    state, changes = plan_resend(alice.own, own, again, fresh(own, to_own.recipient), NOW)
    assert state is own
    assert changes.envelopes == ()
    assert changes.envelopes_gone == (envelope.envelope_id,)
    assert changes.late == (Late(again[1].message_id, to_own.recipient, alice.user),)
