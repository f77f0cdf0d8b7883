"""What waits where: a tree of topic levels, in memory; the payloads are on disk."""

from collections.abc import Iterator
from typing import Final, NamedTuple

_REST: Final = "#"
_ANY: Final = "+"
_BOXES: Final = ("in", "blob")
_PAIR_LEVELS: Final = 5

MAX_IDLE_LEVELS: Final = 1024
"""Levels kept without a message: a mailbox that is emptied at once is filled again soon."""


class Waiting(NamedTuple):
    """One retained message without its payload.

    Attributes:
        number: Its place in the order of arrival, and its row in the file.
        size: Bytes of its payload.
        qos: The QoS it came with.
        stored_at: Unix seconds of its arrival.
    """

    number: int
    size: int
    qos: int
    stored_at: int


class Pair(NamedTuple):
    """The mailbox that one sender fills for one recipient."""

    recipient: str
    sender: str


class Load(NamedTuple):
    """How many messages wait in one mailbox, and their payload bytes."""

    messages: int
    size: int


EMPTY: Final = Load(0, 0)


class _Level:
    """The topics that share their beginning: those that end one level below, and the others."""

    __slots__ = ("below", "ending", "pair")

    def __init__(self, pair: Pair | None) -> None:
        self.below: dict[str, _Level] = {}
        self.ending: dict[str, Waiting] = {}
        self.pair = pair


def _pair_of(prefix: str) -> Pair | None:
    """Return whose mailbox the topics that begin so wait in; None for all others."""
    levels = prefix.split("/")
    if len(levels) >= _PAIR_LEVELS and levels[1] == "u" and levels[3] in _BOXES:
        return Pair(levels[2], levels[4])
    return None


class RetainedIndex:
    """Retained messages by topic level: a filter looks only at what it can match."""

    def __init__(self) -> None:
        """Start with none."""
        self._root = _Level(None)
        self._boxes: dict[str, _Level] = {"": self._root}
        """Each level by the topic of its messages without their last level."""
        self._idle: dict[str, None] = {}
        self._loads: dict[Pair, Load] = {}
        self._count = 0
        self.size = 0
        """Payload bytes of all messages."""

    def put(self, topic: str, message: Waiting) -> Waiting | None:
        """Keep ``message``; return what its topic held before."""
        prefix, slash, last = topic.rpartition("/")
        level = self._boxes.get(prefix + slash) or self._new_level(prefix)
        before = level.ending.get(last)
        level.ending[last] = message
        self._note(level.pair, before, message)
        return before

    def get(self, topic: str) -> Waiting | None:
        """Return what waits under ``topic``."""
        prefix, slash, last = topic.rpartition("/")
        level = self._boxes.get(prefix + slash)
        return None if level is None else level.ending.get(last)

    def remove(self, topic: str) -> Waiting | None:
        """Drop and return what waits under ``topic``."""
        prefix, slash, last = topic.rpartition("/")
        level = self._boxes.get(prefix + slash)
        before = None if level is None else level.ending.pop(last, None)
        if level is None or before is None:
            return None
        self._note(level.pair, before, None)
        if not level.ending and not level.below and level is not self._root:
            self._idle[prefix] = None
            if len(self._idle) > MAX_IDLE_LEVELS:
                self._drop_level(next(iter(self._idle)))
        return before

    def load(self, topic: str) -> Load | None:
        """Return what waits in the mailbox that ``topic`` is in; None for topics of no mailbox."""
        prefix, slash, _ = topic.rpartition("/")
        level = self._boxes.get(prefix + slash)
        pair = _pair_of(prefix) if level is None else level.pair
        return None if pair is None else self._loads.get(pair, EMPTY)

    def matching(self, topic_filter: str) -> list[tuple[str, Waiting]]:
        """Return the topics that match with what waits there, in the order of arrival.

        Source: MQTT 3.1.1, 4.7; topics that begin with $ match no leading wildcard.
        """
        found = list(_matching(self._root, topic_filter.split("/"), ""))
        found.sort(key=_number)
        return found

    def __len__(self) -> int:
        """Return the number of messages."""
        return self._count

    def _new_level(self, prefix: str) -> _Level:
        level, path = self._root, ""
        for name in prefix.split("/"):
            path += f"{name}/"
            found = level.below.get(name)
            if found is None:
                found = level.below[name] = self._boxes[path] = _Level(_pair_of(path[:-1]))
            level = found
        return level

    def _drop_level(self, prefix: str) -> None:
        del self._idle[prefix]
        level = self._boxes.get(f"{prefix}/")
        if level is None or level.ending or level.below:
            return
        while True:
            above, slash, name = prefix.rpartition("/")
            del self._boxes[f"{prefix}/"]
            level = self._boxes[above + slash]
            del level.below[name]
            if level.below or level.ending or level is self._root:
                return
            prefix = above

    def _note(self, pair: Pair | None, before: Waiting | None, after: Waiting | None) -> None:
        messages = (after is not None) - (before is not None)
        size = (after.size if after else 0) - (before.size if before else 0)
        self._count += messages
        self.size += size
        if pair is None:
            return
        known = self._loads.get(pair, EMPTY)
        if known.messages + messages:
            self._loads[pair] = Load(known.messages + messages, known.size + size)
        else:
            self._loads.pop(pair, None)


def _number(found: tuple[str, Waiting]) -> int:
    return found[1].number


def _matching(level: _Level, names: list[str], prefix: str) -> Iterator[tuple[str, Waiting]]:
    name, *rest = names
    if name == _REST:
        yield from _all(level, prefix)
        return
    if rest:
        if rest == [_REST]:  # "a/#" matches "a" as well
            yield from _ending(level, name, prefix)
        if name == _ANY:
            for key, below in level.below.items():
                if prefix or not key.startswith("$"):
                    yield from _matching(below, rest, f"{prefix}{key}/")
        elif name in level.below:
            yield from _matching(level.below[name], rest, f"{prefix}{name}/")
        return
    yield from _ending(level, name, prefix)


def _ending(level: _Level, name: str, prefix: str) -> Iterator[tuple[str, Waiting]]:
    if name != _ANY:
        if name in level.ending:
            yield prefix + name, level.ending[name]
        return
    for key, message in level.ending.items():
        if prefix or not key.startswith("$"):
            yield prefix + key, message


def _all(level: _Level, prefix: str) -> Iterator[tuple[str, Waiting]]:
    yield from _ending(level, _ANY, prefix)
    for key, below in level.below.items():
        if prefix or not key.startswith("$"):
            yield from _all(below, f"{prefix}{key}/")
