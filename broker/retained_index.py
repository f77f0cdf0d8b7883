"""What waits where: a tree of topic levels, in memory; the payloads are on disk."""

from collections.abc import Iterator
from typing import Final, NamedTuple

_REST: Final = "#"
_ANY: Final = "+"
_BOXES: Final = ("in", "blob")
_PAIR_LEVELS: Final = 5


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

    __slots__ = ("below", "ending")

    def __init__(self) -> None:
        self.below: dict[str, _Level] = {}
        self.ending: dict[str, Waiting] = {}


def pair_of(topic: str) -> Pair | None:
    """Return whose mailbox an envelope or attachment waits in; None for any other topic."""
    levels = topic.split("/", _PAIR_LEVELS)
    if len(levels) > _PAIR_LEVELS and levels[1] == "u" and levels[3] in _BOXES:
        return Pair(levels[2], levels[4])
    return None


class RetainedIndex:
    """Retained messages by topic level: a filter looks only at what it can match."""

    def __init__(self) -> None:
        """Start with none."""
        self._root = _Level()
        self._loads: dict[Pair, Load] = {}
        self._count = 0
        self.size = 0
        """Payload bytes of all messages."""

    def put(self, topic: str, message: Waiting) -> Waiting | None:
        """Keep ``message``; return what its topic held before."""
        *path, last = topic.split("/")
        level = self._root
        for name in path:
            found = level.below.get(name)
            if found is None:
                found = level.below[name] = _Level()
            level = found
        before = level.ending.get(last)
        level.ending[last] = message
        self._note(topic, before, message)
        return before

    def get(self, topic: str) -> Waiting | None:
        """Return what waits under ``topic``."""
        *path, last = topic.split("/")
        level: _Level | None = self._root
        for name in path:
            level = level.below.get(name) if level is not None else None
        return None if level is None else level.ending.get(last)

    def remove(self, topic: str) -> Waiting | None:
        """Drop and return what waits under ``topic``."""
        *names, last = topic.split("/")
        path: list[tuple[_Level, str]] = []
        level = self._root
        for name in names:
            found = level.below.get(name)
            if found is None:
                return None
            path.append((level, name))
            level = found
        before = level.ending.pop(last, None)
        if before is None:
            return None
        self._note(topic, before, None)
        for above, name in reversed(path):
            if above.below[name].below or above.below[name].ending:
                break
            del above.below[name]
        return before

    def matching(self, topic_filter: str) -> list[tuple[str, Waiting]]:
        """Return the topics that match with what waits there, in the order of arrival.

        Source: MQTT 3.1.1, 4.7; topics that begin with $ match no leading wildcard.
        """
        found = list(_matching(self._root, topic_filter.split("/"), ""))
        found.sort(key=_number)
        return found

    def load(self, pair: Pair) -> Load:
        """Return what waits in one mailbox."""
        return self._loads.get(pair, EMPTY)

    def __len__(self) -> int:
        """Return the number of messages."""
        return self._count

    def _note(self, topic: str, before: Waiting | None, after: Waiting | None) -> None:
        messages = (after is not None) - (before is not None)
        size = (after.size if after else 0) - (before.size if before else 0)
        self._count += messages
        self.size += size
        pair = pair_of(topic)
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
