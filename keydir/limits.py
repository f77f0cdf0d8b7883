"""How often who may ask the directory: token buckets; pure, time is an argument.

All times are in milliseconds; which clock they come from is the caller's choice.
"""

from dataclasses import dataclass
from typing import Final

SECOND_MS: Final = 1000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS


@dataclass(frozen=True, slots=True)
class Limit:
    """A token bucket: ``burst`` at once, then one for every ``refill_ms``."""

    burst: int
    refill_ms: int


PAIR_LIMIT: Final = Limit(6, 10 * MINUTE_MS)
"""Bundles of one device for one other device: what Signal-Server allows."""

REQUESTER_LIMIT: Final = Limit(60, MINUTE_MS)
"""Bundles for one device: 60 at once, then 60 an hour."""

TARGET_LIMIT: Final = Limit(600, 6 * SECOND_MS)
"""Bundles of one device for everybody together: 600 at once, then 600 an hour."""

DEVICE_LIMIT: Final = Limit(120, SECOND_MS)
"""Requests of any kind by one device: a device that catches up needs a few dozen."""

ARRIVAL_LIMIT: Final = Limit(2 * DEVICE_LIMIT.burst, DEVICE_LIMIT.refill_ms // 2)
"""Requests of one sender that are looked into at all, authentic or not: twice what an honest device
has, so that it is told of ``DEVICE_LIMIT`` before it is no longer heard."""

ENROLL_LIMIT: Final = Limit(20, 3 * SECOND_MS)
"""Enrolment requests for one invitation; an honest device repeats one every few seconds."""


def take(limit: Limit, full_at: int, now: int) -> tuple[int, bool]:
    """Take one token: the bucket to keep, and whether there was one.

    Args:
        limit: The bucket's size and refill.
        full_at: When the bucket will be full; any time up to ``now`` is a full bucket.
        now: The time, on the clock of ``full_at``.

    Source: generic cell rate algorithm, ITU-T I.371 Annex A (virtual scheduling).
    """
    start = max(full_at, now)
    if start - now > (limit.burst - 1) * limit.refill_ms:
        return full_at, False
    return start + limit.refill_ms, True
