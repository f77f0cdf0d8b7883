"""The one clock of delivery."""

import time
from typing import Final


def now_ms() -> int:
    """Return ms since 1970."""
    return time.time_ns() // 1_000_000


def certain_ms() -> int:
    """Return ms since 1970, less what the clock was put ahead while this process ran.

    For what is given up or deleted when its time is over: that comes too late rather than too
    early. Whether the clock was right when the process began is not known.
    """
    return min(now_ms(), _BEGAN_MS + (_elapsed_ns() - _BEGAN_NS) // 1_000_000)


def _elapsed_ns() -> int:
    """Return a clock that is never put; where the system has one, it counts while it sleeps."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic_ns() if boot is None else time.clock_gettime_ns(boot)


_BEGAN_MS: Final = now_ms()
_BEGAN_NS: Final = _elapsed_ns()
