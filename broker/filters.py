"""How topic filters match topics, and which part of the topic tree they look at. Pure."""

from typing import Final

_DEVICE_TREES: Final = ["v1", "u"]
_WILDCARDS: Final = ("+", "#")


def tree_of(topic_or_filter: str) -> str | None:
    """Return the device whose tree holds the topic or all that the filter can match.

    None means elsewhere: outside ``v1/u/``, or a filter over several devices.
    """
    levels = topic_or_filter.split("/", 3)
    if len(levels) > 2 and levels[:2] == _DEVICE_TREES and levels[2] not in _WILDCARDS:
        return levels[2]
    return None


def has_wildcard(topic_filter: str) -> bool:
    """Tell whether the filter can match more than the one topic it spells."""
    return any(level in _WILDCARDS for level in topic_filter.split("/"))


def matches(topic_filter: str, topic: str) -> bool:
    """Tell whether a valid filter matches a topic.

    Source: MQTT 3.1.1, 4.7.
    """
    filter_levels, levels = topic_filter.split("/"), topic.split("/")
    for index, level in enumerate(filter_levels):
        if level == "#":
            return True
        if index == len(levels) or level not in ("+", levels[index]):
            return False
    return len(filter_levels) == len(levels)
