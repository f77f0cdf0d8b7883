"""Token buckets of everybody, in memory: a restart fills them, which only the operator can do."""

from dataclasses import dataclass
from typing import Final

from keydir.rules import Limit, take

MAX_BUCKETS: Final = 100_000
"""Buckets that are not full at one time, about 10 MB; beyond it requests are refused."""


@dataclass(frozen=True, slots=True)
class Charge:
    """One token of the bucket ``key`` under ``limit``."""

    limit: Limit
    key: str


class Throttle:
    """Every bucket that is not full."""

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
