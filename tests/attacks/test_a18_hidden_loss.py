"""A18: what a broker swaps or keeps back is put in order, or told."""

from client_sdk.machine.events import Gap
from client_sdk.machine.receiving import plan_give_up
from client_sdk.machine.rows import MessageState
from client_sdk.machine.streams import GAP_TIMEOUT_MS
from tests.attacks.scene import opened_pair
from tests.unit.machine.machine_parties import NOW


def test_a18_swapped_messages_are_handed_over_in_the_order_of_sending() -> None:
    alice, bob = opened_pair()
    one, two, three = (alice.send(bob, text) for text in ("one", "two", "three"))
    for envelope in (three, two, one):
        bob.receive(alice.address, envelope)
    assert bob.handed_over == ["first", "one", "two", "three"]


def test_a18_a_message_that_is_kept_back_is_told_as_a_gap_and_shown_when_it_comes() -> None:
    alice, bob = opened_pair()
    kept_back = alice.send(bob, "kept back")
    _, events = bob.receive(alice.address, alice.send(bob, "next"))
    assert events == ()
    assert bob.handed_over == ["first"]
    state = bob.states[alice.user]
    (position,) = state.streams.values()
    bob.states[alice.user], changes, events = plan_give_up(state, position, NOW + GAP_TIMEOUT_MS)
    bob.write(changes)
    assert events == (Gap(alice.address, 2, 3),)
    assert [(one.state, one.after_gap) for one in changes.states] == [(MessageState.READY, True)]
    bob.receive(alice.address, kept_back)
    assert bob.handed_over == ["first", "next", "kept back"]
