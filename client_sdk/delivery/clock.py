"""The one clock of delivery."""

import time


def now_ms() -> int:
    """Return ms since 1970."""
    return time.time_ns() // 1_000_000
