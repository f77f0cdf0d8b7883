"""Envelopes that did not open and lie on the broker: seen again, they are passed over."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from client_sdk.machine.received import Arrived
from client_sdk.wire import topics
from client_sdk.wire.ids import DeviceAddress

MAX_REMEMBERED: Final = 4096
"""Envelopes that are remembered; the oldest gives way and is tried once more."""


class Unopened:
    """A bounded memory of topics and digests."""

    def __init__(self) -> None:
        """Start empty."""
        self._devices: OrderedDict[tuple[str, bytes], DeviceAddress] = OrderedDict()

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._devices)

    def has(self, topic: str, digest: bytes) -> bool:
        """Tell whether this envelope, by its SHA-256, is remembered."""
        return (topic, digest) in self._devices

    def add(self, envelopes: Iterable[Arrived]) -> None:
        """Remember envelopes."""
        for one in envelopes:
            self._devices[topics.inbox(*one.topic), one.digest] = one.topic.sender
            if len(self._devices) > MAX_REMEMBERED:
                self._devices.popitem(last=False)

    def forget(self, devices: set[DeviceAddress]) -> None:
        """Try the envelopes of ``devices`` once more when they come: an earlier one opened."""
        for key in [one for one, sender in self._devices.items() if sender in devices]:
            del self._devices[key]
