"""How often a name may fail to log in from one address. Pure: the time is an argument."""

from collections import OrderedDict
from typing import Final

MAX_REMEMBERED: Final = 10_000
"""Pairs of address and name; past it those that failed longest ago are forgotten."""

Pair = tuple[str, str]


class LoginFailures:
    """Failures by (address, name): a bucket that each failure fills and that time empties.

    Secrets are 256 random bits, so this guards the server's time and its log, not the secret.
    """

    def __init__(self, most: int, seconds_each: float) -> None:
        """Start with none.

        Args:
            most: Failures in a row that are answered.
            seconds_each: Time after which one failure is forgotten.
        """
        self._most = most
        self._seconds_each = seconds_each
        self._until: OrderedDict[Pair, float] = OrderedDict()

    def exceeded(self, pair: Pair, now: float) -> bool:
        """Tell whether ``pair`` failed too often to be given another answer."""
        left = self._until.get(pair, now) - now
        return left > (self._most - 1) * self._seconds_each

    def failed(self, pair: Pair, now: float) -> None:
        """Note one failure."""
        self._until[pair] = max(self._until.get(pair, now), now) + self._seconds_each
        self._until.move_to_end(pair)
        if len(self._until) > MAX_REMEMBERED:
            self._until.popitem(last=False)

    def succeeded(self, pair: Pair) -> None:
        """Forget the failures of ``pair``."""
        self._until.pop(pair, None)
