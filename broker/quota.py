"""How much may wait: for each sender and recipient, and in all. Pure."""

from broker.limits import BrokerLimits
from broker.retained_index import RetainedIndex
from client_sdk.wire.notice import NoticeReason


def refusal(
    index: RetainedIndex, limits: BrokerLimits, topic: str, size: int
) -> NoticeReason | None:
    """Return why a message of ``size`` bytes may not wait under ``topic``; None where it may.

    What replaces a waiting message counts in its place.
    """
    before = index.get(topic)
    more, bytes_more = (1, size) if before is None else (0, size - before.size)
    load = index.load(topic)
    if load is not None and (
        load.messages + more > limits.max_pair_messages
        or load.size + bytes_more > limits.max_pair_bytes
    ):
        return NoticeReason.OVER_QUOTA
    if index.size + bytes_more > limits.max_waiting_bytes:
        return NoticeReason.BROKER_FULL
    return None
