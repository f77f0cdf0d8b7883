"""How a filter matches a topic, said as simply as the standard does: what the indexes must find."""


def matches(topic_filter: str, topic: str) -> bool:
    """Source: MQTT 3.1.1, 4.7."""
    filter_levels, levels = topic_filter.split("/"), topic.split("/")
    if topic.startswith("$") and filter_levels[0] in ("+", "#"):
        return False
    for index, level in enumerate(filter_levels):
        if level == "#":
            return True
        if index == len(levels) or level not in ("+", levels[index]):
            return False
    return len(filter_levels) == len(levels)
