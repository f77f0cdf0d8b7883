"""Two pure devices with real keys: what opening, placing and answering change."""

from dataclasses import replace

import pytest

from client_sdk import entropy
from client_sdk.core.fresh_keys import NOTHING_WANTED, WantedKeys
from client_sdk.core.session_record import ARCHIVE_LIFETIME_MS, SessionRecord
from client_sdk.machine.changes import Changes
from client_sdk.machine.devices import adopt_device_list, plan_consent
from client_sdk.machine.errors import NoSessionError
from client_sdk.machine.events import ContactRequest, Delivered, Gap, Read
from client_sdk.machine.opening import open_envelope
from client_sdk.machine.receiving import plan_give_up, plan_receive
from client_sdk.machine.rows import MessageState, ReceiptDue, Receipted
from client_sdk.machine.sending import (
    FreshReceipt,
    fresh_keys_wanted,
    plan_message,
    plan_receipts,
    without_session,
)
from client_sdk.machine.state import expired, session_rows, written
from client_sdk.machine.streams import GAP_TIMEOUT_MS
from client_sdk.wire.codec import encode
from client_sdk.wire.content import CONTENT, ListMark
from client_sdk.wire.directory import Relation
from client_sdk.wire.ids import StreamId, UserName
from client_sdk.wire.limits import MAX_LAST_SEEN, MAX_RECEIPT_IDS, MAX_TEXT_BYTES
from tests.unit.machine.conversations import content_of, opened_conversation, sealed
from tests.unit.machine.machine_parties import (
    NOW,
    empty_state,
    fresh_for,
    make_pair,
    make_party,
    serialised,
)


def test_a_first_message_opens_and_owes_one_receipt() -> None:
    alice, bob = make_pair()
    envelope = alice.send(bob)
    changes, events = bob.receive(alice.address, envelope)
    (message,) = changes.messages
    assert (message.text, message.sender, message.outgoing) == ("hello", "alice", False)
    assert bob.handed_over == ["hello"]
    assert [one.message_id for one in changes.receipts_due] == [message.message_id]
    assert len(changes.prekeys_spent) == 2
    assert len(changes.handshakes) == 1
    assert events == ()


def test_a_first_message_without_one_time_prekeys_spends_nothing() -> None:
    alice, bob = make_pair()
    alice.begin(bob, bob.bundle(one_time=False))
    changes, _ = bob.receive(alice.address, alice.send(bob))
    assert changes.prekeys_spent == ()
    assert bob.handed_over == ["hello"]


def test_a_known_session_opens_without_a_handshake() -> None:
    alice, bob = opened_conversation()
    changes, _ = bob.receive(alice.address, alice.send(bob, "second"))
    assert changes.handshakes == ()
    assert bob.handed_over == ["first", "second"]


def test_what_one_has_seen_of_the_other_goes_along() -> None:
    alice, bob = opened_conversation()
    arrived = bob.arrived(alice.address, alice.send(bob, "second"))
    _, opened = open_envelope(bob.own, bob.states[alice.user], arrived, None, NOW)
    (seen,) = opened.content.last_seen
    assert (seen.device, seen.stream_id, seen.sequence) == (
        bob.address,
        bob.own.record.stream_id,
        1,
    )


def test_the_longest_text_fits_beside_the_most_seen_streams() -> None:
    alice, bob = opened_conversation()
    for _ in range(MAX_LAST_SEEN + 1):
        alice.receive(
            bob.address, sealed(bob, alice, content_of(bob, stream_id=entropy.draw_stream_id()))
        )
    arrived = bob.arrived(alice.address, alice.send(bob, "x" * MAX_TEXT_BYTES))
    _, opened = open_envelope(bob.own, bob.states[alice.user], arrived, None, NOW)
    assert len(opened.content.last_seen) == MAX_LAST_SEEN


def test_the_same_envelope_again_is_answered_without_decryption() -> None:
    alice, bob = make_pair()
    envelope = alice.send(bob)
    bob.receive(alice.address, envelope)
    before = serialised(bob.states[alice.user])
    changes, events = bob.receive(alice.address, envelope)
    assert [one.read for one in changes.receipts_due] == [False]
    assert changes.messages == ()
    assert events == ()
    assert serialised(bob.states[alice.user]) == before
    assert bob.handed_over == ["hello"]


def test_a_repeated_receipt_or_a_stranger_gets_no_answer() -> None:
    alice, bob = make_pair()
    bob.receive(alice.address, alice.send(bob))
    receipt = bob.receipt(alice, bob.receipts_due)
    alice.receive(bob.address, receipt)
    changes, _ = alice.receive(bob.address, receipt)
    assert changes == Changes()
    carol = make_party("carol")
    carol.know(bob)
    bob.know(carol, Relation.STRANGER)
    envelope = carol.send(bob)
    bob.receive(carol.address, envelope)
    changes, _ = bob.receive(carol.address, envelope)
    assert changes == Changes()


def test_a_message_that_comes_in_a_second_envelope_is_receipted_and_not_shown_again() -> None:
    alice, bob = opened_conversation()
    content = content_of(alice)
    bob.receive(alice.address, sealed(alice, bob, content))
    changes, _ = bob.receive(alice.address, sealed(alice, bob, content))
    assert changes.messages == ()
    assert [one.message_id for one in changes.receipts_due] == [content.message_id]
    assert bob.handed_over == ["first", "text"]


def test_delivered_and_read_receipts_name_the_device_and_change_no_message_by_themselves() -> None:
    alice, bob = make_pair()
    envelope = alice.send(bob)
    bob.receive(alice.address, envelope)
    (message_id,) = alice.messages
    changes, events = alice.receive(bob.address, bob.receipt(alice, bob.receipts_due))
    assert changes.receipted == (Receipted(message_id, bob.address, bob.user, False, NOW),)
    assert events == (Delivered(message_id, bob.address),)
    assert (changes.messages, changes.states, changes.receipts_due) == ((), (), ())
    read = [ReceiptDue(alice.user, message_id, True, NOW)]
    changes, events = alice.receive(bob.address, bob.receipt(alice, read))
    assert [one.read for one in changes.receipted] == [True]
    assert events == (Read(message_id, bob.address),)


@pytest.mark.parametrize("count", [1, MAX_RECEIPT_IDS, MAX_RECEIPT_IDS + 1])
def test_one_receipt_names_at_most_100_messages(count: int) -> None:
    alice, bob = opened_conversation()
    due = [ReceiptDue(alice.user, entropy.draw_message_id(), False, NOW) for _ in range(count)]
    state = bob.states[alice.user]
    fresh = FreshReceipt(entropy.draw_message_id(), fresh_for(state))
    _, changes = plan_receipts(bob.own, state, due, fresh, NOW)
    assert changes.receipts_sent == tuple(due[:MAX_RECEIPT_IDS])
    assert [one.message_id for one in changes.envelopes] == [None]


def test_an_expired_message_is_kept_as_expired_and_receipted() -> None:
    alice, bob = make_pair()
    changes, _ = bob.receive(alice.address, alice.send(bob, "late", expires_at=NOW))
    assert [one.state for one in changes.states] == [MessageState.EXPIRED]
    assert len(changes.receipts_due) == 1
    changes, _ = bob.receive(alice.address, alice.send(bob, "in time", expires_at=NOW + 1))
    assert [one.state for one in changes.states] == [MessageState.READY]


def test_a_stranger_asks_once_and_gets_no_receipt_until_accepted() -> None:
    carol, bob = make_party("carol"), make_party("bob")
    carol.know(bob)
    bob.know(carol, Relation.STRANGER)
    changes, events = bob.receive(carol.address, carol.send(bob, "let me in"))
    assert events == (ContactRequest(carol.user),)
    assert changes.receipts_due == ()
    assert [one.state for one in changes.states] == [MessageState.REQUEST]
    _, events = bob.receive(carol.address, carol.send(bob, "please"))
    assert events == ()
    accepted, changes = plan_consent(bob.states[carol.user], accepted=True)
    assert changes.peers[0].accepted
    assert not changes.peers[0].blocked
    bob.states[carol.user] = accepted
    changes, _ = bob.receive(carol.address, carol.send(bob, "thanks"))
    assert len(changes.receipts_due) == 1
    assert bob.handed_over == ["thanks"]


def test_blocking_leaves_acceptance_as_it_is() -> None:
    state, _ = plan_consent(empty_state(UserName("carol")), accepted=True)
    state, changes = plan_consent(state, blocked=True)
    assert (state.peer.accepted, state.peer.blocked) == (True, True)
    assert changes.peers == (state.peer,)


def test_messages_behind_a_missing_one_wait_and_are_given_up_with_a_mark() -> None:
    alice, bob = opened_conversation()
    alice.send(bob, "lost")
    envelopes = [alice.send(bob, "third"), alice.send(bob, "fourth")]
    for envelope in envelopes:
        changes, _ = bob.receive(alice.address, envelope)
        assert changes.states == ()
        assert changes.messages[0].state is MessageState.HELD
    state = bob.states[alice.user]
    (position,) = state.streams.values()
    assert position.gap_since == NOW
    moved, changes, events = plan_give_up(state, position, NOW + GAP_TIMEOUT_MS)
    assert [one.after_gap for one in changes.states] == [True, False]
    assert events == (Gap(alice.address, 2, 3),)
    bob.write(changes)
    assert bob.handed_over == ["first", "third", "fourth"]
    (position,) = moved.streams.values()
    assert (position.next_sequence, position.held) == (5, ())


def test_a_full_gap_is_told_with_the_message_that_filled_it() -> None:
    alice, bob = opened_conversation()
    first = content_of(alice, sequence=3)
    bob.receive(alice.address, sealed(alice, bob, first))
    state = bob.states[alice.user]
    (key,) = state.streams
    held = tuple((number, entropy.draw_message_id()) for number in range(3, 259))
    streams = {key: state.streams[key]._replace(held=held)}
    bob.states[alice.user] = replace(state, streams=streams)
    bob.messages.update({one: bob.messages[first.message_id] for _, one in held})
    _, events = bob.receive(alice.address, sealed(alice, bob, content_of(alice, sequence=300)))
    assert events == (Gap(alice.address, 2, 3),)


def test_nothing_is_planned_without_a_session_or_a_device_list() -> None:
    alice, bob = make_pair()
    state = alice.states[bob.user]
    assert without_session(state) == (bob.address,)
    assert fresh_keys_wanted(state, bob.address) == NOTHING_WANTED
    message = alice.queue(bob.user, "hello")
    with pytest.raises(NoSessionError):
        plan_message(alice.own, state, message, fresh_for(state), NOW)
    with pytest.raises(NoSessionError):
        plan_message(alice.own, empty_state(bob.user), message, {}, NOW)
    alice.begin(bob)
    with pytest.raises(NoSessionError):
        plan_message(alice.own, alice.states[bob.user], message, {}, NOW)
    sessions = {bob.address: SessionRecord()}
    archived = replace(state, sessions=sessions)
    with pytest.raises(NoSessionError):
        plan_message(alice.own, archived, message, fresh_for(state), NOW)


def test_fresh_keys_are_wanted_only_for_the_first_answer() -> None:
    alice, bob = make_pair()
    bob.receive(alice.address, alice.send(bob))
    wanted = fresh_keys_wanted(bob.states[alice.user], alice.address)
    assert wanted == WantedKeys(ratchet_key=True, kem_pair=True)
    bob.send(alice, "answer")
    assert fresh_keys_wanted(bob.states[alice.user], alice.address) == NOTHING_WANTED


@pytest.mark.parametrize("talker", [0, 1])
def test_receipts_alone_from_one_side_carry_the_epochs_on(talker: int) -> None:
    alice, bob = opened_conversation()
    one, other = (alice, bob) if talker == 0 else (bob, alice)
    other.receipts_due.clear()
    for _ in range(30):
        other.receive(one.address, one.send(other))
        receipt = other.receipt(one, [other.receipts_due.pop()])
        changes, _ = one.receive(other.address, receipt)
        assert len(changes.receipted) == 1
    for party, peer in ((alice, bob), (bob, alice)):
        current = party.states[peer.user].sessions[peer.address].current
        assert current is not None
        assert current.ratchet.roots.epoch >= 1


def test_messages_get_numbers_one_by_one() -> None:
    alice, bob = make_pair()
    alice.begin(bob)
    state = alice.states[bob.user]
    sequences = []
    for text in ("one", "two", "three"):
        message = alice.queue(bob.user, text)
        state, changes = plan_message(alice.own, state, message, fresh_for(state), NOW)
        (planned,) = changes.planned
        sequences.append(planned.sequence)
        assert planned.message_id == message.message_id
    assert sequences == [1, 2, 3]
    assert state.peer.next_sequence == 4


def test_rows_of_sessions_are_their_serialised_bytes() -> None:
    alice, bob = opened_conversation()
    state = alice.states[bob.user]
    (row,) = session_rows(state, (bob.address,))
    assert row == (bob.address, bob.user, serialised(state)[bob.address], 1)


def test_a_committed_step_moves_the_revision_only_where_it_was_based_on_one() -> None:
    alice, bob = opened_conversation()
    state = alice.states[bob.user]
    assert written(state, Changes()).revision == state.revision
    _, changes = adopt_device_list(state, bob.list_reply())
    assert written(state, changes).revision == state.revision + 1


def test_archived_sessions_end_after_30_days() -> None:
    alice, bob = opened_conversation()
    alice.begin(bob)
    state = alice.states[bob.user]
    assert len(state.sessions[bob.address].archived) == 1
    assert expired(state, NOW + ARCHIVE_LIFETIME_MS) == state
    assert expired(state, NOW + ARCHIVE_LIFETIME_MS + 1).sessions[bob.address].archived == ()


def test_records_show_no_keys_and_no_text() -> None:
    alice, bob = make_pair()
    envelope = alice.send(bob, "a planted secret")
    arrived = bob.arrived(alice.address, envelope)
    handshake = bob.handshake(bob.states[alice.user], arrived)
    moved, opened = open_envelope(bob.own, bob.states[alice.user], arrived, handshake, NOW)
    moved, changes, _ = plan_receive(moved, opened, NOW, known=False)
    shown = repr((changes, opened, moved, handshake, alice.own, bob.own.record, envelope))
    shown += repr((list(bob.prekeys.values()), session_rows(moved, (alice.address,))))
    assert "planted" not in shown
    assert repr(bob.own.record.identity_private)[2:-1] not in shown
    for row in bob.prekeys.values():
        assert repr(row.private)[2:-1] not in shown
    assert CONTENT.decode(encode(opened.content)) == opened.content
    assert ListMark(1, alice.own.mark.hash) == alice.own.mark


def test_a_new_stream_of_a_known_device_makes_its_new_session_current() -> None:
    alice, bob = opened_conversation()
    before = alice.current_id(bob)
    record = bob.own.record._replace(stream_id=StreamId(entropy.draw_bytes(8)))
    bob.own = replace(bob.own, record=record)
    bob.begin(alice)
    alice.receive(bob.address, bob.send(alice, "after a rollback"))
    assert alice.current_id(bob) == bob.current_id(alice) != before


def test_a_later_session_of_the_peer_becomes_current_and_a_late_one_does_not() -> None:
    alice, bob = opened_conversation()
    bob.begin(alice)
    late = bob.send(alice, "in the second session")
    bob.begin(alice)
    newest = bob.send(alice, "in the third session")
    alice.receive(bob.address, newest)
    third = alice.current_id(bob)
    alice.receive(bob.address, late)
    assert alice.current_id(bob) == third == bob.current_id(alice)
    assert alice.handed_over == ["answer", "in the second session", "in the third session"]
