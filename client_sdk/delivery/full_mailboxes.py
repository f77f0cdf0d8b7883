"""Recipients for whom the broker takes no more mail of ours now: it told, and does not acknowledge.

A notice is the broker's word alone. All it can do is to put a message off, which a broker can do
anyway.
"""

import asyncio
from collections.abc import Iterable

from client_sdk.delivery.pace import step
from client_sdk.transport.ports import Incoming
from client_sdk.wire import topics
from client_sdk.wire.errors import ProtocolError
from client_sdk.wire.ids import DeviceAddress, EnvelopeId
from client_sdk.wire.notice import NOTICE


class FullMailboxes:
    """Publications that may be refused, and how long each full mailbox is left alone."""

    def __init__(self, own: DeviceAddress) -> None:
        """Start with none full; ``own`` is the address of this device."""
        self._own = own
        self._publishing: dict[EnvelopeId, asyncio.Task[None]] = {}
        self._refusals: dict[DeviceAddress, int] = {}

    def watch(self, envelope_id: EnvelopeId, publishing: "asyncio.Task[None]") -> None:
        """Cancel ``publishing`` when a notice says that its envelope is not taken."""
        self._publishing[envelope_id] = publishing

    def forget(self) -> None:
        """Watch no publication any more."""
        self._publishing.clear()

    def receive(self, incoming: Incoming) -> None:
        """Take what came under this device's notice topics; anything but a notice is dropped."""
        try:
            place = topics.parse_inbox(NOTICE.decode(incoming.payload).topic)
        except ProtocolError:
            return
        publishing = self._publishing.get(place.envelope_id)
        if place.sender == self._own and publishing is not None:
            publishing.cancel()

    def taken(self, recipients: Iterable[DeviceAddress]) -> None:
        """Note for whom mail was taken: they are not full any more."""
        for recipient in recipients:
            self._refusals.pop(recipient, None)

    def refused(self, recipient: DeviceAddress, delays: tuple[float, ...]) -> float:
        """Note a full mailbox; return the seconds for which it is left alone.

        Args:
            recipient: Whose it is.
            delays: Seconds before the first, second, … try; the last repeats.
        """
        number = self._refusals.get(recipient, 0)
        self._refusals[recipient] = number + 1
        return step(delays, number)

    def emptied(self, devices: Iterable[DeviceAddress]) -> list[DeviceAddress]:
        """Return those of ``devices`` that were full and have taken mail: there is room again."""
        return [device for device in set(devices) if self._refusals.pop(device, 0)]
