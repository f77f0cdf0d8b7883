"""Who subscribed to what: a tree of topic levels, so that strangers' filters cost nothing."""

from typing import Final, Generic, TypeVar

Subscriber = TypeVar("Subscriber")

_REST: Final = "#"
_ANY: Final = "+"


class _Level(Generic[Subscriber]):
    """The filters that share their beginning, and those that end here."""

    __slots__ = ("below", "ending")

    def __init__(self) -> None:
        self.below: dict[str, _Level[Subscriber]] = {}
        self.ending: dict[Subscriber, int] = {}


class Subscriptions(Generic[Subscriber]):
    """Filters by their levels: finding the readers of a topic takes a step or three a level."""

    def __init__(self) -> None:
        """Start with none."""
        self._root: _Level[Subscriber] = _Level()
        self._count = 0

    def add(self, topic_filter: str, subscriber: Subscriber, qos: int) -> None:
        """Subscribe, or replace the QoS of the same subscription."""
        level = self._root
        for name in topic_filter.split("/"):
            found = level.below.get(name)
            if found is None:
                found = level.below[name] = _Level()
            level = found
        self._count += subscriber not in level.ending
        level.ending[subscriber] = qos

    def remove(self, topic_filter: str, subscriber: Subscriber) -> None:
        """Unsubscribe; nothing happens where there was no such subscription."""
        path: list[tuple[_Level[Subscriber], str]] = []
        level = self._root
        for name in topic_filter.split("/"):
            found = level.below.get(name)
            if found is None:
                return
            path.append((level, name))
            level = found
        if level.ending.pop(subscriber, None) is None:
            return
        self._count -= 1
        for above, name in reversed(path):
            if above.below[name].below or above.below[name].ending:
                return
            del above.below[name]

    def readers_of(self, topic: str) -> dict[Subscriber, int]:
        """Return each subscriber of ``topic`` once, with the best QoS it asked for.

        Source: MQTT 3.1.1, 3.3.5 (overlapping subscriptions), 4.7.2 (topics that begin with $).
        """
        levels = topic.split("/")
        wild = not levels[0].startswith("$")
        found: dict[Subscriber, int] = {}
        reached = [self._root]
        for name in levels:
            next_reached: list[_Level[Subscriber]] = []
            for level in reached:
                below = level.below
                if name in below:
                    next_reached.append(below[name])
                if wild and _ANY in below:
                    next_reached.append(below[_ANY])
                if wild and _REST in below:
                    _collect(found, below[_REST].ending)
            if not next_reached:
                return found
            reached, wild = next_reached, True
        for level in reached:
            _collect(found, level.ending)
            if _REST in level.below:  # "a/#" matches "a" as well
                _collect(found, level.below[_REST].ending)
        return found

    def __len__(self) -> int:
        """Return the number of subscriptions, for tests of leaks."""
        return self._count


def _collect(found: dict[Subscriber, int], ending: dict[Subscriber, int]) -> None:
    for subscriber, qos in ending.items():
        if qos >= found.get(subscriber, 0):
            found[subscriber] = qos
