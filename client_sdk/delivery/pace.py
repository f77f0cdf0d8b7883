"""How long the loops wait before they do a thing again."""

from dataclasses import dataclass
from typing import Final

RESEND_SECONDS: Final = (30.0, 120.0, 600.0, 3600.0)
"""When an envelope without a receipt is published again; the last repeats."""

FULL_MAILBOX_SECONDS: Final = (30.0, 60.0, 120.0)
"""When a mailbox that the broker called full is tried again; the last repeats."""

RESYNC_SECONDS: Final = (5.0, 10.0, 180.0)
"""When the inbox is subscribed to again; the last repeats."""

ASK_AGAIN_SECONDS: Final = 120.0
"""When an envelope that did not open is asked for again."""

LIST_CHECK_SECONDS: Final = (30.0, 120.0, 600.0, 3600.0)
"""When the device list of a user who owes receipts is asked for again; the last repeats."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The pace of one engine: an app keeps the defaults, a simulation runs faster."""

    resend_seconds: tuple[float, ...] = RESEND_SECONDS
    full_mailbox_seconds: tuple[float, ...] = FULL_MAILBOX_SECONDS
    resync_seconds: tuple[float, ...] = RESYNC_SECONDS
    ask_again_seconds: float = ASK_AGAIN_SECONDS
    list_check_seconds: tuple[float, ...] = LIST_CHECK_SECONDS


def step(delays: tuple[float, ...], number: int) -> float:
    """Return the delay of a step, from 0; the last delay repeats."""
    return delays[min(number, len(delays) - 1)]
