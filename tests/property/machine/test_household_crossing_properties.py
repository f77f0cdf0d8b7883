"""A17: first messages that cross between all pairs of devices of two users."""

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from client_sdk.machine.rows import OutboxEnvelope
from tests.unit.machine.household import pair_of_households, write_to
from tests.unit.machine.machine_parties import Party

Mail = list[tuple[Party, Party, OutboxEnvelope]]


def written(senders: list[Party], receivers: list[Party], text: str) -> Mail:
    mail: Mail = []
    for sender in senders:
        envelopes, _ = write_to(sender, receivers, f"{sender.address} {text}")
        mail += [(sender, one, envelopes[one.address]) for one in receivers]
    return mail


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a17_every_pair_of_devices_is_left_with_one_session_and_nothing_is_lost(
    data: st.DataObject,
) -> None:
    alices, bobs = pair_of_households(2, 2)
    rounds = 3
    for number in range(rounds):
        mail = written(alices, bobs, str(number)) + written(bobs, alices, str(number))
        order = data.draw(st.permutations(range(len(mail))))
        if data.draw(st.booleans()):
            order = [*order, *order]  # whoever repeats changes nothing
        for index in order:
            sender, receiver, envelope = mail[index]
            receiver.receive(sender.address, envelope)
    for mine, theirs in ((alices, bobs), (bobs, alices)):
        expected = sorted(f"{one.address} {n}" for one in theirs for n in range(rounds))
        for one in mine:
            assert sorted(str(text) for text in one.handed_over) == expected
            for other in theirs:
                own = [text for text in one.handed_over if str(text).startswith(other.address)]
                assert own == [f"{other.address} {n}" for n in range(rounds)]
    for one, other in product(alices, bobs):
        assert one.current_id(other) == other.current_id(one)
