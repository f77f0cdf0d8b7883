"""A store that is older than it was, or one of two copies, is told from one that is not."""

import pytest

from client_sdk import entropy
from client_sdk.machine.rollback import is_rolled_back, plan_fresh_start, with_new_stream
from client_sdk.wire.healing import StoreCounters
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
