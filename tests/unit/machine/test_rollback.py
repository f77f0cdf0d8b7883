"""A store that is older than it was, or one of two copies, is told from one that is not."""

import pytest

from client_sdk import entropy
from client_sdk.machine.device import load_device
from client_sdk.machine.late import LateMessage
from client_sdk.machine.rollback import is_rolled_back, plan_fresh_start, with_new_stream
from client_sdk.machine.rows import Late
from client_sdk.wire.healing import StoreCounters
from tests.unit.machine.household import pair_of_households, write_late, write_to
from tests.unit.machine.machine_parties import NOW, make_pair, make_record

MINE, OTHER = bytes(16), b"\x01" * 16
HERE = StoreCounters(opens=5, commits=100, open_id=MINE)


@pytest.mark.parametrize(
    ("before", "older"),
    [
        (None, False),
        (StoreCounters(4, 100, OTHER), False),
        (StoreCounters(4, 101, OTHER), True),
        (StoreCounters(5, 1, OTHER), True),
        (StoreCounters(6, 1, OTHER), True),
        (StoreCounters(5, 100, MINE), False),
    ],
)
def test_a_higher_report_of_another_opening_tells_of_a_copy(
    before: StoreCounters | None, older: bool
) -> None:
    assert is_rolled_back(HERE, before) is older


def test_a_fresh_start_archives_everything_and_numbers_begin_again() -> None:
    alice, bob = make_pair()
    bob.receive(alice.address, alice.send(bob, "one"))
    before = alice.current_id(bob)
    state, changes = plan_fresh_start(alice.states[bob.user], NOW)
    record = state.sessions[bob.address]
    assert record.current is None
    assert [one.session.session_id for one in record.archived] == [before]
    assert state.peer.next_sequence == 1
    assert changes.peers == (state.peer,)
    again, _ = plan_fresh_start(state, NOW + 1)
    assert again.sessions == state.sessions


def test_a_new_stream_changes_nothing_else_of_the_device() -> None:
    record, stream_id = make_record("alice"), entropy.draw_stream_id()
    changed = with_new_stream(record, stream_id)
    assert changed.stream_id == stream_id
    assert changed._replace(stream_id=record.stream_id) == record


def test_what_is_left_of_the_stream_before_a_rollback_keeps_nobody_waiting() -> None:
    alices, (bob,) = pair_of_households(2)
    for number in range(4):
        write_to(bob, alices, f"before {number}", only=alices[:1])
    old = bob.own.record.stream_id
    state, _ = plan_fresh_start(bob.states[alices[0].user], NOW)
    bob.states[alices[0].user] = state
    stream_id = entropy.draw_stream_id()
    bob.own = load_device(with_new_stream(bob.own.record, stream_id))
    new, _ = write_to(bob, alices, "new stream")
    second = alices[1]
    second.receive(bob.address, new[second.address])
    left = [one for one in bob.messages.values() if one.text in {"before 2", "before 3"}]
    for sequence, message in zip((3, 4), left, strict=True):
        late = LateMessage(
            Late(message.message_id, second.address, second.user),
            message._replace(stream_id=old, sequence=sequence),
            0,
        )
        _, events = second.receive(bob.address, write_late(bob, second, late))
        assert events == ()
    assert second.handed_over == ["new stream", "before 2", "before 3"]
    newer, _ = write_to(bob, alices, "second of the new stream")
    assert second.receive(bob.address, newer[second.address])[1] == ()
    assert second.handed_over[-1] == "second of the new stream"
