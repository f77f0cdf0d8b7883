"""What is asked for again, and how often."""

from dataclasses import replace

import pytest

from client_sdk import entropy
from client_sdk.core.errors import (
    AuthenticationError,
    DuplicateMessageError,
    SkippedTooFarError,
    UnknownSessionError,
)
from client_sdk.core.session_record import archive_current
from client_sdk.machine.control import control_content, seal_for
from client_sdk.machine.errors import (
    NoSessionError,
    PrekeyGoneError,
    ReplayedHandshakeError,
    UnknownDeviceError,
)
from client_sdk.machine.events import SessionRenewed
from client_sdk.machine.healing import (
    Verdict,
    judge,
    may_resend,
    plan_answer,
    plan_request,
    plan_resend,
)
from client_sdk.machine.opening import open_envelope
from client_sdk.machine.pace import MAX_WINDOW_MS, WINDOW_MS, opened_window
from client_sdk.machine.receiving import plan_receive
from client_sdk.machine.rows import HealingPace, OutboxEnvelope, PaceKind, ReceiptDue, ResendDue
from client_sdk.machine.state import PeerState
from client_sdk.wire.bundle import MAX_CLOCK_SKEW_MS
from client_sdk.wire.codec import encode
from client_sdk.wire.content import ContentKind
from client_sdk.wire.directory import Relation
from client_sdk.wire.envelope import ENVELOPE, RATCHET_HEADER
from client_sdk.wire.errors import MalformedError, ProtocolError
from client_sdk.wire.healing import Resent
from client_sdk.wire.ids import EnvelopeId, MessageId
from client_sdk.wire.limits import MAX_RESEND_IDS
from tests.unit.machine.healing_parties import BOB, content, fresh, lost, stored, talking
from tests.unit.machine.machine_parties import (
    NOW,
    SEALED_AT,
    Party,
    empty_state,
    make_pair,
    serialised,
)

ASK, ANSWER = PaceKind.ASK, PaceKind.ANSWER


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


def crossed(first: ContentKind, *, answer: ContentKind, talked: bool) -> tuple[Party, Party]:
    """Let alice hear late of a session of bob's, where hers won and was answered."""
    alice, bob = talking() if talked else make_pair()
    for one, other in ((alice, bob), (bob, alice)):
        one.states[other.user] = archived(one, other) if talked else one.states[other.user]
        one.begin(other)
    while bob.current_id(alice) < alice.current_id(bob):
        bob.begin(alice)
    late = of_kind(bob, alice, first)
    bob.receive(alice.address, alice.send(bob))
    alice.receive(bob.address, of_kind(bob, alice, answer))
    alice.receive(bob.address, late)
    return alice, bob


def of_kind(bob: Party, alice: Party, kind: ContentKind, ahead: int = 0) -> OutboxEnvelope:
    """Return an envelope of bob's: a message, a receipt, or a control content."""
    if kind is ContentKind.MESSAGE:
        return bob.send(alice)
    if kind is ContentKind.DELIVERED:
        return bob.receipt(
            alice, [ReceiptDue(alice.user, MessageId(bytes(16)), read=False, due_since=NOW)]
        )
    state = bob.states[alice.user]
    drawn = content(state, alice.address)
    body = encode(Resent((EnvelopeId(entropy.draw_id()),)))
    sealed_at = NOW + next(SEALED_AT) + ahead
    settled = control_content(bob.own, state, (kind, body), drawn, sealed_at)
    bob.states[alice.user], envelope = seal_for(state, alice.address, settled, drawn.envelope, NOW)
    return envelope


KINDS = (ContentKind.MESSAGE, ContentKind.DELIVERED, ContentKind.RESENT)


@pytest.mark.parametrize("talked", [False, True])
@pytest.mark.parametrize("answer", KINDS)
@pytest.mark.parametrize("first", KINDS)
def test_a17_a_first_content_that_comes_late_leaves_both_in_one_session(
    first: ContentKind, answer: ContentKind, *, talked: bool
) -> None:
    alice, bob = crossed(first, answer=answer, talked=talked)
    assert alice.current_id(bob) == bob.current_id(alice)
    bob.receive(alice.address, alice.send(bob))
    alice.receive(bob.address, bob.send(alice))
    assert alice.current_id(bob) == bob.current_id(alice)


@pytest.mark.parametrize("first", KINDS)
def test_a_session_that_the_peer_began_anew_is_taken_whatever_its_first_content(
    first: ContentKind,
) -> None:
    alice, bob = talking()
    bob.states[alice.user] = replace(bob.states[alice.user], sessions={})
    begin_after(bob, alice)
    alice.receive(bob.address, of_kind(bob, alice, first))
    assert alice.current_id(bob) == bob.current_id(alice)


@pytest.mark.parametrize("first", KINDS)
def test_of_two_sessions_that_the_peer_began_the_later_one_stays(first: ContentKind) -> None:
    alice, bob = talking()
    begin_after(bob, alice)
    earlier = of_kind(bob, alice, first)
    bob.begin(alice)
    alice.receive(bob.address, of_kind(bob, alice, ContentKind.DELIVERED))
    alice.receive(bob.address, earlier)
    assert alice.current_id(bob) == bob.current_id(alice)


def test_a_clock_that_was_years_ahead_counts_for_two_days_at_most() -> None:
    alice, bob = talking()
    alice.receive(bob.address, of_kind(bob, alice, ContentKind.RESENT, 10 * MAX_CLOCK_SKEW_MS))
    record = alice.states[bob.user].sessions[bob.address]
    assert record.heard_at == alice.now + MAX_CLOCK_SKEW_MS
