"""Token buckets: those that all replicas share, and those that guard one process alone."""

from dataclasses import dataclass
from typing import Final

from keydir.rules import Limit, take
from keydir.table_ports import Buckets

MAX_BUCKETS: Final = 100_000
"""Buckets that are not full at one time, about 10 MB; beyond it requests are refused."""


@dataclass(frozen=True, slots=True)
class Charge:
    """One token of the bucket ``key`` under ``limit``."""

    limit: Limit
    key: str


def allow(buckets: Buckets, now: int, *charges: Charge) -> bool:
    """Take a token of every shared bucket, or of none; False where one is empty.

    Args:
        buckets: Those of the open transaction, which keeps what was taken.
        now: Milliseconds since 1970: replicas on several machines have no other clock together.
        charges: The buckets; their keys differ.
    """
    found = buckets.find([charge.key for charge in charges])
    taken: dict[str, int] = {}
    for charge in charges:
        # A clock that was set back must not leave a bucket emptier than empty.
        emptiest = now + charge.limit.burst * charge.limit.refill_ms
        full_at, allowed = take(charge.limit, min(found[charge.key], emptiest), now)
        if not allowed:
            return False
        taken[charge.key] = full_at
    buckets.keep(taken)
    return True


class Throttle:
    """Buckets in memory, each that is not full: a restart fills them."""

    def __init__(self) -> None:
        """Begin with every bucket full."""
        self._full_at: dict[str, int] = {}

    def allow(self, now: int, *charges: Charge) -> bool:
        """Take a token of every bucket, or of none; False where one is empty.

        Args:
            now: Milliseconds of a clock that never goes back.
            charges: The buckets; their keys differ.
        """
        taken: dict[str, int] = {}
        for charge in charges:
            full_at, allowed = take(charge.limit, self._full_at.get(charge.key, now), now)
            if not allowed:
                return False
            taken[charge.key] = full_at
        if len(self._full_at) + len(taken) > MAX_BUCKETS:
            self._full_at = {key: at for key, at in self._full_at.items() if at > now}
            if len(self._full_at) + len(taken) > MAX_BUCKETS:
                return False
        self._full_at.update(taken)
        return True
