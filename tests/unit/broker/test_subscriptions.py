"""The index of subscriptions finds exactly what a scan of all filters would find."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.retained_index import MAX_IDLE_LEVELS, Load, RetainedIndex, Waiting
from broker.subscriptions import Subscriptions
from tests.unit.broker.matching import matches

levels = st.sampled_from(["v1", "u", "kd", "in", "a-1", "$b", ""])
topics = st.lists(levels, min_size=1, max_size=6).map("/".join)
filters = st.tuples(
    st.lists(st.one_of(levels, st.just("+")), min_size=1, max_size=6), st.booleans()
).map(lambda pair: "/".join([*pair[0], "#"] if pair[1] else pair[0]))
devices = st.sampled_from(["alice-1", "bob-1", "_kd"])


@pytest.mark.parametrize(
    ("topic_filter", "topic", "expected"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/c", False),
        ("a/+", "a/b", True),
        ("a/+", "a", False),
        ("a/+", "a/b/c", False),
        ("+/+", "a/b", True),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("#", "a/b", True),
        ("a/#", "b", False),
        ("a", "a/b", False),
        ("#", "$SYS/a", False),
        ("+/a", "$SYS/a", False),
        ("$SYS/#", "$SYS/a", True),
    ],
)
def test_filters_match_as_the_standard_says(topic_filter: str, topic: str, expected: bool) -> None:
    assert matches(topic_filter, topic) is expected


@given(st.lists(st.tuples(filters, devices, st.integers(0, 1)), max_size=8), topics)
def test_the_index_finds_what_a_scan_finds(wanted: list[tuple[str, str, int]], topic: str) -> None:
    index: Subscriptions[str] = Subscriptions()
    plain: dict[tuple[str, str], int] = {}
    for topic_filter, device, qos in wanted:
        index.add(topic_filter, device, qos)
        plain[topic_filter, device] = qos
    expected: dict[str, int] = {}
    for (topic_filter, device), qos in plain.items():
        if matches(topic_filter, topic):
            expected[device] = max(qos, expected.get(device, 0))
    assert index.readers_of(topic) == expected
    for topic_filter, device, _ in wanted:
        index.remove(topic_filter, device)
    assert len(index) == 0
    assert index.readers_of(topic) == {}


@given(st.lists(topics, max_size=8), filters)
def test_waiting_mail_is_found_as_by_a_scan(stored: list[str], topic_filter: str) -> None:
    index = RetainedIndex()
    newest: dict[str, int] = {}
    for number, topic in enumerate(stored):
        before = index.put(topic, Waiting(number, 10, 1, 0))
        assert (None if before is None else before.number) == newest.get(topic)
        newest[topic] = number
    expected = [
        (topic, number)
        for topic, number in sorted(newest.items(), key=lambda item: item[1])
        if matches(topic_filter, topic)
    ]
    found = [(topic, message.number) for topic, message in index.matching(topic_filter)]
    assert found == expected
    assert (len(index), index.size) == (len(newest), 10 * len(newest))
    for topic, number in newest.items():
        removed = index.remove(topic)
        assert removed is not None
        assert removed.number == number
        assert index.remove(topic) is None
        assert index.get(topic) is None
    assert (len(index), index.size) == (0, 0)


def test_emptied_mailboxes_are_forgotten_but_for_a_few() -> None:
    index = RetainedIndex()
    for number in range(3 * MAX_IDLE_LEVELS):
        topic = f"v1/u/bob-1/in/{number}/x"
        index.put(topic, Waiting(number, 10, 1, 0))
        assert index.remove(topic) is not None
    assert len(index._boxes) < MAX_IDLE_LEVELS + 8
    assert index.load("v1/u/bob-1/in/1/x") == Load(0, 0)


def test_removing_what_was_never_there_changes_nothing() -> None:
    index: Subscriptions[str] = Subscriptions()
    index.add("v1/u/a-1/#", "alice-1", 0)
    index.remove("v1/u/a-1/#", "bob-1")
    index.remove("v1/u/b-1/#", "bob-1")
    assert index.readers_of("v1/u/a-1/x") == {"alice-1": 0}
