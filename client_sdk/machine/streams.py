"""Order within one stream: what may be handed over now, what waits, when waiting ends."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from client_sdk.machine.events import Gap
from client_sdk.machine.rows import StreamPosition
from client_sdk.machine.state import StreamKey
from client_sdk.wire.ids import DeviceAddress, MessageId

MAX_HELD: Final = 256
"""Messages held back behind a missing one."""

MAX_STREAMS: Final = 32
"""Streams of one device: it starts one with each new store, and may start more out of malice."""

GAP_TIMEOUT_MS: Final = 10_000
"""How long a missing message is waited for."""


class Release(NamedTuple):
    """Messages to hand over, in order; ``gap`` tells of missing ones just before the first."""

    message_ids: tuple[MessageId, ...]
    gap: Gap | None = None


NOTHING: Final = Release(())


def arrive(
    position: StreamPosition, sequence: int, message_id: MessageId, now: int
) -> tuple[StreamPosition, Release]:
    """Place one new message in its stream.

    A late one, whose place was given up before, is released at once.

    Args:
        position: The stream so far.
        sequence: The message's number in the stream, from 1.
        message_id: The message.
        now: ms since 1970.
    """
    if sequence < position.next_sequence:
        return position, Release((message_id,))
    held = tuple(sorted((*position.held, (sequence, message_id))))
    waiting = position._replace(held=held)
    if sequence == position.next_sequence:
        return _advance(waiting, now)
    if position.gap_since is None:
        waiting = waiting._replace(gap_since=now)
    if len(held) > MAX_HELD:
        return give_up(waiting, now)
    return waiting, NOTHING


def give_up(position: StreamPosition, now: int) -> tuple[StreamPosition, Release]:
    """Stop waiting for the first missing message of a stream that holds some back."""
    first_held = position.held[0][0]
    gap = Gap(position.device, position.next_sequence, first_held)
    moved, release = _advance(position._replace(next_sequence=first_held), now)
    return moved, release._replace(gap=gap)


def make_room(
    streams: Mapping[StreamKey, StreamPosition], device: DeviceAddress, now: int
) -> tuple[tuple[StreamPosition, ...], tuple[Release, ...]]:
    """Return the streams of ``device`` that a new one takes the place of, and what they held.

    Those least lately used go first, marked as ``gone``.
    """
    known = sorted(
        (one for one in streams.values() if one.device == device),
        key=lambda one: (one.used_at, one.stream_id),
    )
    gone: list[StreamPosition] = []
    releases: list[Release] = []
    for one in known[: max(len(known) - MAX_STREAMS + 1, 0)]:
        position = one
        while position.held:
            position, release = give_up(position, now)
            releases.append(release)
        gone.append(position._replace(gone=True))
    return tuple(gone), tuple(releases)


def newest_sequence(position: StreamPosition) -> int:
    """Return the greatest number that came of a stream, handed over or held; 0 for none."""
    return position.held[-1][0] if position.held else position.next_sequence - 1


def _advance(position: StreamPosition, now: int) -> tuple[StreamPosition, Release]:
    following = position.next_sequence
    released: list[MessageId] = []
    for sequence, message_id in position.held:
        if sequence > following:
            break
        released.append(message_id)
        following = sequence + 1
    rest = position.held[len(released) :]
    moved = position._replace(next_sequence=following, held=rest, gap_since=now if rest else None)
    return moved, Release(tuple(released))
