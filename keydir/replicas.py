"""How several directories on one broker divide the work: everybody hears, one answers first.

Every replica hears every request and computes the same order of replicas for its sender. The
first of them answers. A device repeats a request that nobody answers, and with every repetition
one more replica takes part, so that one which hangs or is cut off holds nobody up. Who answers is
only a question of work: an answer is committed once, whoever gave it.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final

BEAT_SECONDS: Final = 0.5
"""How often a replica counts on, and looks who else does."""

ALIVE_MS: Final = 3000
"""Who has not counted on for six beats does not answer any more."""

FORGET_MS: Final = 60_000
"""Who has not counted on for this long is forgotten."""

HANDOVER_SECONDS: Final = 2 * BEAT_SECONDS
"""A replica that leaves answers on for so long: until all others have seen that it left."""

MAX_HEARD: Final = 10_000
"""Requests of others that are remembered to notice a repetition."""


class Replicas:
    """What one replica knows of the others; it counts itself in always."""

    def __init__(self, name: str) -> None:
        """Begin alone.

        Args:
            name: This replica's own, unlike any other's.
        """
        self._name = name
        self._names: tuple[str, ...] = (name,)
        self._seen: dict[str, tuple[int, int]] = {}
        self._heard: OrderedDict[str, int] = OrderedDict()

    def look(self, beats: Mapping[str, int], now: int) -> tuple[str, ...]:
        """Take note of who counts on; return who has not for so long that it can be forgotten.

        Clocks of different machines are never compared: only whether a number has changed.

        Args:
            beats: The newest number of every replica that did not leave.
            now: Milliseconds of a clock that never goes back.
        """
        seen = self._seen
        self._seen = {
            name: seen[name] if name in seen and seen[name][0] == beat else (beat, now)
            for name, beat in beats.items()
            if name != self._name
        }
        alive = [name for name, (_, since) in self._seen.items() if now - since < ALIVE_MS]
        self._names = tuple(sorted([self._name, *alive]))
        return tuple(name for name, (_, since) in self._seen.items() if now - since >= FORGET_MS)

    def is_first(self, sender: str) -> bool:
        """Tell whether this replica answers a sender before all others."""
        return self._rank(sender) == 0

    def takes(self, sender: str, topic: str) -> bool:
        """Tell whether this replica answers a request that it has just heard."""
        rank = self._rank(sender)
        if rank == 0:
            return True
        times = self._heard.pop(topic, 0) + 1
        self._heard[topic] = times
        if len(self._heard) > MAX_HEARD:
            self._heard.popitem(last=False)
        return times > rank

    def _rank(self, sender: str) -> int:
        if len(self._names) == 1:
            return 0
        return ranked(self._names, sender).index(self._name)


def ranked(names: Iterable[str], sender: str) -> list[str]:
    """Return the replicas in the order in which they answer a sender.

    Source: rendezvous hashing (Thaler and Ravishankar, "Using name-based mappings to increase hit
    rates", 1998): one that comes or goes changes the first place of its own share only.
    """
    return sorted(names, key=lambda name: hashlib.sha256(f"{name} {sender}".encode()).digest())
