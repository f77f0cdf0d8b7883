"""How often healing with one peer device is tried: in windows of time that grow when used."""

from typing import Final

from client_sdk.machine.rows import HealingPace, PaceKind
from client_sdk.wire.bundle import DAY_MS
from client_sdk.wire.ids import DeviceAddress

WINDOW_MS: Final = 3_600_000
"""Healing with one peer device is counted in windows of an hour."""

MAX_WINDOW_MS: Final = DAY_MS
"""A window that was used doubles the next one, up to a day: what cannot heal goes quiet."""

MAX_REQUESTS: Final = 5
"""Resend requests to one peer device in one window: all its 500 envelopes, 100 in each."""

MAX_NEW_SESSIONS: Final = 1
"""Sessions that healing starts with one peer device in one window."""

MAX_ANSWERS: Final = 2 * MAX_REQUESTS
"""Requests of one peer device that are answered in one window: theirs and ours begin apart."""


def opened_window(
    pace: HealingPace | None, device: DeviceAddress, kind: PaceKind, now: int
) -> HealingPace:
    """Return the window that ``now`` lies in: the given one, or the next.

    Args:
        pace: The last window with this device; None for none ever.
        device: The peer device.
        kind: Asking or answering.
        now: ms since 1970; a clock that was put back begins a new window.
    """
    fresh = HealingPace(device, kind, now, WINDOW_MS)
    if pace is None:
        return fresh
    if pace.began_at <= now < pace.began_at + pace.length:
        return pace
    quiet = not pace.requests or now >= pace.began_at + 2 * pace.length
    length = WINDOW_MS if quiet else min(2 * pace.length, MAX_WINDOW_MS)
    return fresh._replace(length=length)
