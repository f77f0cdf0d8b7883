"""What is asked for again, what is sealed again and for whom, and how often."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from client_sdk import entropy
from client_sdk.core.errors import (
    AuthenticationError,
    DuplicateMessageError,
    SkippedTooFarError,
    UnknownSessionError,
)
from client_sdk.core.session_record import archive_current
from client_sdk.machine.control import FreshContent
from client_sdk.machine.errors import (
    NoSessionError,
    PrekeyGoneError,
    ReplayedHandshakeError,
    UnknownDeviceError,
)
from client_sdk.machine.events import SessionRenewed
from client_sdk.machine.healing import (
    RESEND_LIFETIME_MS,
    Verdict,
    candidate,
    judge,
    may_resend,
    plan_answer,
    plan_request,
    plan_resend,
)
from client_sdk.machine.opening import open_envelope
from client_sdk.machine.pace import MAX_WINDOW_MS, WINDOW_MS, opened_window
from client_sdk.machine.receiving import plan_receive
from client_sdk.machine.rows import (
    Candidate,
    HealingPace,
    Late,
    Message,
    MessageState,
    OutboxEnvelope,
    PaceKind,
    ResendDue,
)
from client_sdk.machine.sending import FreshEnvelope, fresh_keys_wanted
from client_sdk.machine.state import PeerState
from client_sdk.wire.codec import encode
from client_sdk.wire.directory import Relation
from client_sdk.wire.envelope import ENVELOPE, RATCHET_HEADER
from client_sdk.wire.errors import MalformedError, ProtocolError
from client_sdk.wire.ids import DeviceAddress, EnvelopeId, UserName
from client_sdk.wire.limits import MAX_RESEND_IDS
from tests.unit.machine.machine_parties import (
    NOW,
    Party,
    empty_state,
    make_pair,
    make_party,
    serialised,
)

ASK, ANSWER = PaceKind.ASK, PaceKind.ANSWER
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


def archived(party: Party, other: Party) -> PeerState:
    state = party.states[other.user]
    record = archive_current(state.sessions[other.address], NOW)
    return replace(state, sessions={other.address: record})


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (UnknownDeviceError(""), Verdict.LOOK_UP),
        (SkippedTooFarError(""), Verdict.WAIT),
        (UnknownSessionError(""), Verdict.HEAL),
        (PrekeyGoneError(""), Verdict.HEAL),
        (ReplayedHandshakeError(""), Verdict.HEAL),
        (DuplicateMessageError(""), Verdict.HEAL),
        (AuthenticationError(""), Verdict.DROP),
        (MalformedError(""), Verdict.DROP),
    ],
)
def test_lost_state_of_a_contact_is_healed_and_a_forgery_is_dropped(
    error: ProtocolError, verdict: Verdict
) -> None:
    alice, bob = talking()
    arrived = bob.arrived(alice.address, alice.send(bob))
    assert judge(bob.states[alice.user], arrived, error) is verdict


def test_a_bad_tag_in_an_archived_session_may_be_lost_state() -> None:
    alice, bob = talking()
    arrived = bob.arrived(alice.address, alice.send(bob))
    error = AuthenticationError("")
    assert judge(archived(bob, alice), arrived, error) is Verdict.HEAL
    nothing = replace(bob.states[alice.user], sessions={})
    assert judge(nothing, arrived, error) is Verdict.DROP


@pytest.mark.parametrize(
    "error",
    [PrekeyGoneError(""), ReplayedHandshakeError(""), DuplicateMessageError("")],
)
def test_a_stranger_is_never_answered(error: ProtocolError) -> None:
    alice, bob = make_pair()
    bob.know(alice, Relation.STRANGER)
    arrived = bob.arrived(alice.address, alice.send(bob))
    assert judge(bob.states[alice.user], arrived, error) is Verdict.DROP
    assert judge(bob.states[alice.user], arrived, UnknownSessionError("")) is Verdict.WAIT


def test_the_sender_of_an_unknown_session_is_looked_up_where_it_is_not_known() -> None:
    alice, bob = make_pair()
    arrived = bob.arrived(alice.address, alice.send(bob))
    assert judge(empty_state(alice.user), arrived, UnknownSessionError("")) is Verdict.LOOK_UP


def test_a_window_lasts_an_hour_doubles_to_a_day_when_it_was_used_and_halves_by_rest() -> None:
    first = opened_window(None, BOB, ASK, NOW)
    assert first == HealingPace(BOB, ASK, NOW, WINDOW_MS)
    used = first._replace(requests=5, sessions=1)
    assert opened_window(used, BOB, ASK, NOW + WINDOW_MS - 1) is used
    lengths, at, window = [], NOW, used
    for _ in range(7):
        at += window.length
        window = opened_window(window, BOB, ASK, at)._replace(requests=1)
        lengths.append(window.length)
    hours = [length // WINDOW_MS for length in lengths]
    assert hours == [2, 4, 8, 16, 24, 24, 24]
    assert MAX_WINDOW_MS == 24 * WINDOW_MS
    rested = opened_window(window, BOB, ASK, at + 2 * window.length)
    assert (rested.length, rested.requests, rested.sessions) == (WINDOW_MS, 0, 0)
    unused = window._replace(requests=0)
    assert opened_window(unused, BOB, ASK, at + window.length).length == WINDOW_MS


def test_a_clock_that_was_put_back_begins_a_new_window() -> None:
    later = HealingPace(BOB, ANSWER, NOW + 1, WINDOW_MS, requests=5)
    assert opened_window(later, BOB, ANSWER, NOW).began_at == NOW


def stored(alice: Party, envelope: OutboxEnvelope) -> Message:
    """Return the message of an envelope as the store has it after the envelope was planned."""
    assert envelope.message_id is not None
    return alice.messages[envelope.message_id]._replace(
        state=MessageState.PUBLISHED, stream_id=alice.own.record.stream_id, sequence=3
    )


def lost(bob: Party, alice: Party, envelope: OutboxEnvelope) -> Candidate:
    return candidate(bob.arrived(alice.address, envelope), NOW)


def test_a_lost_message_is_requested_in_a_new_session_sealed_again_and_settled() -> None:
    alice, bob = talking()
    envelope = alice.send(bob, "sealed for a session that is lost")
    bob.states[alice.user] = replace(bob.states[alice.user], sessions={})
    bob.begin(alice)
    state = bob.states[alice.user]
    row = lost(bob, alice, envelope)
    moved, changes = plan_request(bob.own, state, [row], content(state, alice.address), NOW + 1)
    assert changes.candidates == (row._replace(asked_at=NOW + 1),)
    (request,) = changes.envelopes
    assert (request.message_id, request.recipient) == (None, alice.address)

    asked, events = alice.receive(bob.address, request)
    assert events == (SessionRenewed(bob.address),)
    assert asked.ask_again == (bob.address,)
    (due,) = asked.resends_due
    at_alice = alice.states[bob.user]
    current = at_alice.sessions[bob.address].current
    in_new = moved.sessions[alice.address].current
    assert current is not None
    assert in_new is not None
    assert current.session_id == in_new.session_id
    assert may_resend(at_alice, due, envelope, stored(alice, envelope), NOW)

    at_alice, again = plan_resend(
        alice.own, at_alice, (envelope, stored(alice, envelope)), fresh(at_alice, bob.address), NOW
    )
    assert again.envelopes_gone == (envelope.envelope_id,)
    (resent,) = again.envelopes
    assert resent.message_id == envelope.message_id
    assert resent.identity_key == envelope.identity_key
    at_alice, settled = plan_answer(alice.own, at_alice, [due], content(at_alice, bob.address), NOW)
    assert settled.resends_done == ((bob.address, envelope.envelope_id),)

    bob.states[alice.user] = moved
    bob.receive(alice.address, resent)
    assert "sealed for a session that is lost" in [one.text for one in bob.messages.values()]
    done, _ = bob.receive(alice.address, settled.envelopes[0])
    assert done.candidates_gone == ((alice.address, envelope.envelope_id),)


def test_neither_a_request_nor_its_answer_is_receipted_or_stands_in_a_stream() -> None:
    alice, bob = talking()
    state = bob.states[alice.user]
    row = lost(bob, alice, alice.send(bob))
    _, changes = plan_request(bob.own, state, [row], content(state, alice.address), NOW)
    asked, _ = alice.receive(bob.address, changes.envelopes[0])
    assert (asked.receipts_due, asked.streams, asked.messages) == ((), (), ())


def test_a_request_and_an_answer_name_at_most_a_hundred_envelopes() -> None:
    alice, bob = talking()
    state = bob.states[alice.user]
    many = [
        lost(bob, alice, alice.send(bob))._replace(envelope_id=EnvelopeId(entropy.draw_id()))
        for _ in range(2)
    ] * (MAX_RESEND_IDS // 2) + [lost(bob, alice, alice.send(bob))]
    _, changes = plan_request(bob.own, state, many, content(state, alice.address), NOW)
    assert len(changes.candidates) == MAX_RESEND_IDS
    due = [ResendDue(bob.address, one.envelope_id, one.digest, NOW) for one in many]
    at_alice = alice.states[bob.user]
    _, changes = plan_answer(alice.own, at_alice, due, content(at_alice, bob.address), NOW)
    assert len(changes.resends_done) == MAX_RESEND_IDS


def test_nothing_is_sealed_without_a_current_session() -> None:
    alice, bob = talking()
    row = lost(bob, alice, alice.send(bob))
    state = archived(bob, alice)
    one = content(bob.states[alice.user], alice.address)
    before = serialised(state)
    with pytest.raises(NoSessionError):
        plan_request(bob.own, state, [row], one, NOW)
    assert serialised(state) == before


def due_for(party: Party, envelope: OutboxEnvelope) -> ResendDue:
    digest = hashlib.sha256(envelope.payload).digest()[:8]
    return ResendDue(party.address, envelope.envelope_id, digest, NOW)


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


def test_two_requests_that_cross_end_in_one_session() -> None:
    alice, bob = talking()
    rows = {
        alice.user: lost(alice, bob, bob.send(alice)),
        bob.user: lost(bob, alice, alice.send(bob)),
    }
    requests = {}
    for one, other in ((alice, bob), (bob, alice)):
        one.states[other.user] = replace(one.states[other.user], sessions={})
        one.begin(other)
        state = one.states[other.user]
        row = rows[one.user]
        one.states[other.user], changes = plan_request(
            one.own, state, [row], content(state, other.address), NOW
        )
        requests[one.user] = changes.envelopes[0]
    alice.receive(bob.address, requests[bob.user])
    bob.receive(alice.address, requests[alice.user])
    assert alice.current_id(bob) == bob.current_id(alice)


def begin_after(bob: Party, alice: Party) -> None:
    """Let bob begin a session that the crossing rule would not make the current one."""
    bob.begin(alice)
    while bob.current_id(alice) < alice.current_id(bob):
        bob.begin(alice)


def request(bob: Party, alice: Party, envelope: OutboxEnvelope) -> OutboxEnvelope:
    state = bob.states[alice.user]
    row = lost(bob, alice, envelope)
    bob.states[alice.user], changes = plan_request(
        bob.own, state, [row], content(state, alice.address), NOW
    )
    return changes.envelopes[0]


def test_a_peer_that_cannot_read_our_first_message_moves_us_to_its_session() -> None:
    alice, bob = make_pair()
    first = alice.send(bob)
    begin_after(bob, alice)
    alice.receive(bob.address, request(bob, alice, first))
    assert alice.current_id(bob) == bob.current_id(alice)


def test_a_peer_that_has_only_ever_receipted_moves_us_to_its_session() -> None:
    alice, bob = make_pair()
    changes, _ = bob.receive(alice.address, alice.send(bob))
    alice.receive(bob.address, bob.receipt(alice, list(changes.receipts_due)))
    unread = with_other_tag(alice.send(bob))
    begin_after(bob, alice)
    alice.receive(bob.address, request(bob, alice, unread))
    assert alice.current_id(bob) == bob.current_id(alice)


def with_other_tag(envelope: OutboxEnvelope) -> OutboxEnvelope:
    parsed = ENVELOPE.decode(envelope.payload)
    header = RATCHET_HEADER.decode(parsed.header)._replace(session_tag=bytes(8))
    return envelope._replace(payload=encode(parsed._replace(header=encode(header))))


def test_a_content_of_an_unknown_kind_is_refused() -> None:
    alice, bob = talking()
    arrived = bob.arrived(alice.address, alice.send(bob))
    state, opened = open_envelope(bob.own, bob.states[alice.user], arrived, None, NOW)
    strange = replace(opened, content=opened.content._replace(kind=7))
    with pytest.raises(MalformedError):
        plan_receive(state, strange, NOW, known=False)


def test_a_changed_envelope_leaves_the_state_as_it_was() -> None:
    alice, bob = talking()
    envelope = alice.send(bob)
    parsed = ENVELOPE.decode(envelope.payload)
    torn = parsed._replace(ciphertext=bytes(len(parsed.ciphertext)))
    arrived = bob.arrived(alice.address, envelope)._replace(envelope=torn)
    state = bob.states[alice.user]
    before = serialised(state)
    with pytest.raises(AuthenticationError):
        open_envelope(bob.own, state, arrived, None, NOW)
    assert serialised(state) == before
