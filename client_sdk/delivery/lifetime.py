"""How long a message is sent at all."""

from typing import Final

from client_sdk.wire.bundle import DAY_MS

MESSAGE_LIFETIME_MS: Final = 30 * DAY_MS
"""An undelivered message is given up after this long, and a device that is late gets it no more."""
