"""Warnings of what was dropped: few lines, however much a sender sends."""

import logging
import time
from typing import Final

from client_sdk.wire.ids import DeviceAddress

QUIET_SECONDS: Final = 60.0
"""A sender device is warned of once in this time."""

MAX_REMEMBERED_DEVICES: Final = 1024
"""Sender devices whose last warning is remembered; the oldest gives way."""

_logger = logging.getLogger(__name__)


class DropLog:
    """Warns of dropped envelopes, once a minute for each sender device."""

    def __init__(self) -> None:
        """Start with nobody warned of."""
        self._quiet_until: dict[DeviceAddress, float] = {}

    def dropped(self, device: DeviceAddress, code: str) -> None:
        """Tell that something of ``device`` was dropped, unless that was told just before."""
        now = time.monotonic()
        if now < self._quiet_until.get(device, 0.0):
            return
        self._quiet_until.pop(device, None)
        self._quiet_until[device] = now + QUIET_SECONDS
        if len(self._quiet_until) > MAX_REMEMBERED_DEVICES:
            del self._quiet_until[next(iter(self._quiet_until))]
        _logger.warning("an envelope was dropped: %s; its sender's next ones are not told", code)
