"""Order within one stream, decided message by message."""

import pytest

from client_sdk.machine.events import Gap
from client_sdk.machine.rows import StreamPosition
from client_sdk.machine.streams import (
    MAX_HELD,
    MAX_STREAMS,
    NOTHING,
    arrive,
    give_up,
    make_room,
    newest_sequence,
)
from client_sdk.wire.ids import DeviceAddress, MessageId, StreamId

EMPTY = StreamPosition(DeviceAddress("bob-1"), StreamId(bytes(8)))


def name(number: int) -> MessageId:
    return MessageId(number.to_bytes(16, "big"))


def test_the_next_message_is_released_at_once() -> None:
    position, release = arrive(EMPTY, 1, name(1), 5)
    assert release.message_ids == (name(1),)
    assert release.gap is None
    assert position == EMPTY._replace(next_sequence=2)


def test_a_message_behind_a_missing_one_waits_from_its_arrival_on() -> None:
    position, release = arrive(EMPTY, 3, name(3), 5)
    assert release == NOTHING
    assert position.gap_since == 5
    position, release = arrive(position, 2, name(2), 9)
    assert release == NOTHING
    assert position.gap_since == 5
    position, release = arrive(position, 1, name(1), 12)
    assert release.message_ids == (name(1), name(2), name(3))
    assert position == EMPTY._replace(next_sequence=4)


def test_a_second_gap_is_waited_for_from_the_moment_the_first_closed() -> None:
    position, _ = arrive(EMPTY, 2, name(2), 5)
    position, _ = arrive(position, 4, name(4), 6)
    position, release = arrive(position, 1, name(1), 20)
    assert release.message_ids == (name(1), name(2))
    assert (position.next_sequence, position.gap_since) == (3, 20)


def test_giving_up_releases_up_to_the_next_gap_and_names_what_is_missing() -> None:
    position, _ = arrive(EMPTY, 3, name(3), 5)
    position, _ = arrive(position, 5, name(5), 5)
    position, release = give_up(position, 30)
    assert release.message_ids == (name(3),)
    assert release.gap == Gap(EMPTY.device, 1, 3)
    assert position == EMPTY._replace(next_sequence=4, gap_since=30, held=((5, name(5)),))
    position, release = give_up(position, 60)
    assert release.gap == Gap(EMPTY.device, 4, 5)
    assert position.gap_since is None


def test_a_late_message_is_released_at_once_without_moving_the_stream() -> None:
    position, _ = arrive(EMPTY, 3, name(3), 5)
    position, _ = give_up(position, 30)
    moved, release = arrive(position, 1, name(1), 40)
    assert moved == position
    assert release.message_ids == (name(1),)


def test_256_messages_are_held_and_one_more_ends_the_waiting() -> None:
    position = EMPTY
    for number in range(2, MAX_HELD + 2):
        position, release = arrive(position, number, name(number), 5)
        assert release == NOTHING
    assert len(position.held) == MAX_HELD
    position, release = arrive(position, MAX_HELD + 2, name(MAX_HELD + 2), 6)
    assert release.message_ids == tuple(name(n) for n in range(2, MAX_HELD + 3))
    assert release.gap == Gap(EMPTY.device, 1, 2)
    assert position == EMPTY._replace(next_sequence=MAX_HELD + 3)


def test_two_messages_of_one_number_are_both_released() -> None:
    position, _ = arrive(EMPTY, 2, name(2), 5)
    position, _ = arrive(position, 2, name(7), 5)
    position, release = arrive(position, 1, name(1), 5)
    assert release.message_ids == (name(1), name(2), name(7))
    assert position.next_sequence == 3


@pytest.mark.parametrize(("arrivals", "newest"), [((), 0), ((1, 2), 2), ((1, 4, 3), 4)])
def test_the_newest_number_counts_held_messages_too(arrivals: tuple[int, ...], newest: int) -> None:
    position = EMPTY
    for number in arrivals:
        position, _ = arrive(position, number, name(number), 5)
    assert newest_sequence(position) == newest


def test_32_streams_of_a_device_are_kept_and_the_least_lately_used_gives_way() -> None:
    bob, other = EMPTY.device, DeviceAddress("bob-2")
    streams = {}
    for number in range(MAX_STREAMS):
        ids = StreamId(number.to_bytes(8, "big"))
        assert make_room(streams, bob, 9) == ((), ())
        streams[bob, ids] = StreamPosition(bob, ids, used_at=100 - number)
        streams[other, ids] = StreamPosition(other, ids)
    oldest = StreamId((MAX_STREAMS - 1).to_bytes(8, "big"))
    gone, releases = make_room(streams, bob, 9)
    assert [(one.device, one.stream_id, one.gone) for one in gone] == [(bob, oldest, True)]
    assert releases == ()


def test_a_stream_that_gives_way_releases_all_that_it_held() -> None:
    streams = {}
    for number in range(MAX_STREAMS):
        ids = StreamId(number.to_bytes(8, "big"))
        streams[EMPTY.device, ids] = StreamPosition(EMPTY.device, ids, used_at=number)
    position, _ = arrive(EMPTY, 3, name(3), 5)
    position, _ = arrive(position, 5, name(5), 5)
    streams[EMPTY.device, EMPTY.stream_id] = position
    (gone,), releases = make_room(streams, EMPTY.device, 9)
    assert gone.held == ()
    assert [one.message_ids for one in releases] == [(name(3),), (name(5),)]
    assert [one.gap for one in releases] == [Gap(EMPTY.device, 1, 3), Gap(EMPTY.device, 4, 5)]
