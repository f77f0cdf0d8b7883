"""Whatever order a stream arrives in, the app sees one order and nothing twice."""

from hypothesis import given
from hypothesis import strategies as st

from client_sdk.machine.rows import StreamPosition
from client_sdk.machine.streams import arrive, give_up
from client_sdk.wire.ids import DeviceAddress, MessageId, StreamId

EMPTY = StreamPosition(DeviceAddress("bob-1"), StreamId(bytes(8)))


def name(number: int) -> MessageId:
    return MessageId(number.to_bytes(16, "big"))


@given(st.integers(1, 60).flatmap(lambda n: st.permutations(range(1, n + 1))))
def test_any_permutation_is_handed_over_in_order_once(arrival: list[int]) -> None:
    position, handed_over = EMPTY, list[MessageId]()
    for number in arrival:
        position, release = arrive(position, number, name(number), 0)
        assert release.gap is None
        handed_over += release.message_ids
    assert handed_over == [name(number) for number in sorted(arrival)]
    assert position == EMPTY._replace(next_sequence=len(arrival) + 1)


@given(
    st.permutations(range(1, 25)),
    st.sets(st.integers(1, 24), max_size=6),
    st.data(),
)
def test_with_losses_and_give_ups_all_that_came_is_handed_over_once(
    arrival: list[int], lost: set[int], data: st.DataObject
) -> None:
    position, handed_over = EMPTY, list[MessageId]()
    present = [number for number in arrival if number not in lost]
    for number in present:
        position, release = arrive(position, number, name(number), 0)
        handed_over += release.message_ids
        if position.held and data.draw(st.integers(0, 5)) == 0:
            before = position.next_sequence
            position, release = give_up(position, 1)
            assert release.gap is not None
            assert release.gap.first_missing == before
            handed_over += release.message_ids
    while position.held:
        position, release = give_up(position, 2)
        handed_over += release.message_ids
    assert sorted(handed_over) == [name(number) for number in sorted(present)]
    assert position.gap_since is None
