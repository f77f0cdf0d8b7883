"""A session is renewed before its peer could lose it."""

from client_sdk.machine.sending import RENEW_AFTER, without_session
from tests.unit.machine.machine_parties import make_pair


def test_a_chain_that_grew_long_without_an_answer_asks_for_a_new_session() -> None:
    alice, bob = make_pair()
    alice.begin(bob)
    for number in range(RENEW_AFTER):
        assert without_session(alice.state(bob.user)) == (), number
        late = alice.send(bob, f"expired {number}")
    assert without_session(alice.state(bob.user)) == (bob.address,)
    alice.begin(bob)
    assert without_session(alice.state(bob.user)) == ()
    bob.receive(alice.address, alice.send(bob, "important"))
    bob.receive(alice.address, late)
    alice.receive(bob.address, bob.send(alice, "an answer"))
    assert without_session(alice.state(bob.user)) == ()
