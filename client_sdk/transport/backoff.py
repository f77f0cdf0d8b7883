"""How long to wait before connecting again; pure."""

from typing import Final

FIRST_DELAY_SECONDS: Final = 0.25
MAX_DELAY_SECONDS: Final = 5.0
"""Short, so that a sender is back before a recipient gives up waiting for a missing message."""


def reconnect_delay(attempt: int, jitter: float) -> float:
    """Return the seconds to wait before reconnecting.

    The ceiling doubles from 0.25 s to 5 s; the delay lies in its upper half, so that a
    thousand devices do not come back in one moment.

    Args:
        attempt: Failures in a row so far, from 0.
        jitter: A random number from 0 to 1.
    """
    ceiling = min(MAX_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(attempt, 16))
    return ceiling * (0.5 + 0.5 * jitter)
