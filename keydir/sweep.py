"""The sweep: nothing that waits for or from a revoked device stays on the broker."""

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

from client_sdk.transport.errors import SubscriptionRefusedError
from client_sdk.transport.ports import Connection, Incoming
from client_sdk.wire import topics
from client_sdk.wire.errors import MalformedError
from client_sdk.wire.ids import DeviceAddress
from keydir.logs import get_logger

MAX_PASSES: Final = 100
"""Passes of one sweep; a broker that hands over 1,000 topics a pass is swept of 100,000."""

DEVICES_AT_ONCE: Final = 16
"""Devices of one sweep: two filters each, and a broker may bound the filters of a connection."""

MAX_FOUND: Final = 10_000
"""Topics that a pass keeps, some 2 MB; what else waits is found by the next one."""

CLEARS_AT_ONCE: Final = 50
"""Clearing publishes that wait for their acknowledgement together."""

RETRY_SECONDS: Final = 60.0
"""How long to leave a broker alone that refused what a sweep subscribes to."""

_log = get_logger(__name__)


class SweepRecords(Protocol):
    """What the sweep asks of the store, off the event loop."""

    async def unswept(self) -> Sequence[DeviceAddress]:
        """Return revoked devices that are due for a sweep."""
        ...

    async def note_sweep(self, addresses: Sequence[DeviceAddress]) -> None:
        """Record that nothing of these devices is left."""
        ...


class Sweeper:
    """Finds and clears the retained topics of revoked devices over one connection.

    The filters of a sweep end with it; what a revoked device's contacts still send is cleared by
    the next daily one.
    """

    def __init__(self, connection: Connection, records: SweepRecords, quiet_seconds: float) -> None:
        """Use one live connection; the reader of it hands over what arrives to ``found``."""
        self._connection = connection
        self._records = records
        self._quiet_seconds = quiet_seconds
        self._revoked: set[str] = set()
        self._topics: set[str] = set()
        self._arrived = asyncio.Event()
        self._not_before = 0.0

    def found(self, message: Incoming) -> None:
        """Take note of a topic under a sweep's filter; one's own clears come back empty."""
        if not message.payload or len(self._topics) >= MAX_FOUND:
            return
        if self._is_revoked(message.topic):
            self._topics.add(message.topic)
            self._arrived.set()

    async def look(self) -> None:
        """Clear what has come since the last look, and sweep the devices that are due.

        Raises:
            ConnectionLostError: The rest is swept after reconnecting.
        """
        await self._clear()
        if asyncio.get_running_loop().time() < self._not_before:
            return
        due = list(await self._records.unswept())
        for start in range(0, len(due), DEVICES_AT_ONCE):
            await self._sweep(due[start : start + DEVICES_AT_ONCE])

    async def _sweep(self, devices: Sequence[DeviceAddress]) -> None:
        self._revoked = set(devices)
        filters = [topics.device_tree(device) for device in devices]
        filters += [topics.sent_filter(device) for device in devices]
        if await self._swept(filters):
            await self._records.note_sweep(devices)
            _log.debug("swept", devices=len(devices))
        await self._connection.unsubscribe(*filters)

    async def _swept(self, filters: Sequence[str]) -> bool:
        """Clear what the filters find until a pass finds nothing; tell whether it came to that."""
        for _ in range(MAX_PASSES):
            try:
                await self._connection.subscribe(*filters)
            except SubscriptionRefusedError:
                self._not_before = asyncio.get_running_loop().time() + RETRY_SECONDS
                _log.warning("sweep refused", filters=len(filters))
                return False
            await self._quiet()
            if not self._topics:
                return True
            await self._clear()
        return False

    async def _quiet(self) -> None:
        while True:
            self._arrived.clear()
            try:
                async with asyncio.timeout(self._quiet_seconds):
                    await self._arrived.wait()
            except TimeoutError:
                return

    async def _clear(self) -> None:
        while self._topics:
            batch = [self._topics.pop() for _ in range(min(CLEARS_AT_ONCE, len(self._topics)))]
            async with asyncio.TaskGroup() as group:
                for topic in batch:
                    group.create_task(self._connection.publish(topic, b"", retain=True))

    def _is_revoked(self, topic: str) -> bool:
        try:
            place = topics.parse_inbox(topic)
        except MalformedError:
            return any(topic.startswith(f"{topics.ROOT}/u/{one}/") for one in self._revoked)
        return place.recipient in self._revoked or place.sender in self._revoked
