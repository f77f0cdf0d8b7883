"""Who subscribed to what, indexed so that a message looks only at its own device's readers."""

from collections.abc import Iterator
from typing import Generic, TypeVar

from broker.filters import has_wildcard, matches, tree_of

Subscriber = TypeVar("Subscriber")

_Readers = dict[str, dict[Subscriber, int]]


class Subscriptions(Generic[Subscriber]):
    """Filters by the tree they look at: one device's, one exact topic, or several trees."""

    def __init__(self) -> None:
        """Start with none."""
        self._trees: dict[str, _Readers[Subscriber]] = {}
        self._exact: _Readers[Subscriber] = {}
        self._wide: _Readers[Subscriber] = {}

    def add(self, topic_filter: str, subscriber: Subscriber, qos: int) -> None:
        """Subscribe, or replace the QoS of the same subscription."""
        self._readers(topic_filter).setdefault(topic_filter, {})[subscriber] = qos

    def remove(self, topic_filter: str, subscriber: Subscriber) -> None:
        """Unsubscribe; nothing happens where there was no such subscription."""
        tree = tree_of(topic_filter)
        readers = self._readers(topic_filter)
        subscribers = readers.get(topic_filter, {})
        subscribers.pop(subscriber, None)
        if not subscribers:
            readers.pop(topic_filter, None)
        if tree is not None and not readers:
            del self._trees[tree]

    def readers_of(self, topic: str) -> dict[Subscriber, int]:
        """Return each subscriber of ``topic`` once, with the best QoS it asked for.

        Source: MQTT 3.1.1, 3.3.5 (overlapping subscriptions).
        """
        found: dict[Subscriber, int] = {}
        for subscribers in self._matching(topic):
            for subscriber, qos in subscribers.items():
                found[subscriber] = max(qos, found.get(subscriber, 0))
        return found

    def __len__(self) -> int:
        """Return the number of filters, for tests of leaks."""
        trees = sum(len(readers) for readers in self._trees.values())
        return trees + len(self._exact) + len(self._wide)

    def _readers(self, topic_filter: str) -> _Readers[Subscriber]:
        tree = tree_of(topic_filter)
        if tree is not None:
            return self._trees.setdefault(tree, {})
        return self._wide if has_wildcard(topic_filter) else self._exact

    def _matching(self, topic: str) -> Iterator[dict[Subscriber, int]]:
        tree = tree_of(topic)
        if tree is None:
            if topic in self._exact:
                yield self._exact[topic]
        else:
            yield from _matching(self._trees.get(tree, {}), topic)
        yield from _matching(self._wide, topic)


def _matching(readers: _Readers[Subscriber], topic: str) -> Iterator[dict[Subscriber, int]]:
    for topic_filter, subscribers in readers.items():
        if matches(topic_filter, topic):
            yield subscribers
