"""Token buckets: those that all replicas share, and those that guard one process alone."""

from dataclasses import dataclass
from typing import Final

from keydir.limits import HOUR_MS, Limit, take
from keydir.records import Token
from keydir.table_ports import Buckets

MAX_BUCKETS: Final = 100_000
"""Buckets that are not full at one time, about 10 MB; beyond it requests are refused."""

LARGEST_SKEW_MS: Final = HOUR_MS
"""Clocks of replicas differ by less; were a bucket lowered for less, two replicas that differ
could be asked in turn for more than a limit allows."""


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
    tokens: list[Token] = []
    for key, limit in ((charge.key, charge.limit) for charge in charges):
        emptiest = now + limit.burst * limit.refill_ms
        if found[key] > emptiest + LARGEST_SKEW_MS:  # a clock was set back: it fills from now on
            buckets.lower(key, emptiest)
        _, allowed = take(limit, found[key], now)
        if not allowed:
            return False
        tokens.append(Token(key, now, limit.refill_ms, emptiest))
    buckets.take(tokens)
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
