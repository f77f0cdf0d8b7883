"""A sweep of more waiting mail than one pass keeps."""

import asyncio
from collections.abc import Sequence

import pytest

from client_sdk.transport.ports import Incoming
from client_sdk.wire import topics
from client_sdk.wire.ids import DeviceAddress, EnvelopeId, random_id
from keydir import sweep
from keydir.sweep import Sweeper

GONE, SENDER = DeviceAddress("gone-1"), DeviceAddress("bob-1")
LIMIT = 20


class Broker:
    """Retained topics; a subscription hands all of them over, whatever the reader keeps."""

    def __init__(self, count: int) -> None:
        self.waiting = {
            topics.inbox(GONE, SENDER, EnvelopeId(random_id(number.to_bytes(16))))
            for number in range(count)
        }
        self.passes = 0
        self.sweeper: Sweeper | None = None

    async def subscribe(self, *filters: str) -> None:
        assert self.sweeper is not None
        self.passes += bool(filters)
        for topic in sorted(self.waiting):
            self.sweeper.found(Incoming(topic, b"sealed", retained=True))

    async def unsubscribe(self, *filters: str) -> None:
        pass

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        assert retain
        assert not payload
        self.waiting.discard(topic)


class Records:
    def __init__(self) -> None:
        self.due: list[DeviceAddress] = [GONE]

    async def unswept(self) -> Sequence[DeviceAddress]:
        return self.due

    async def note_sweep(self, addresses: Sequence[DeviceAddress]) -> None:
        self.due = [one for one in self.due if one not in addresses]


@pytest.mark.parametrize(("count", "passes"), [(LIMIT, 2), (LIMIT + 1, 3), (5 * LIMIT, 6)])
async def test_what_one_pass_does_not_keep_the_next_one_clears(
    monkeypatch: pytest.MonkeyPatch, count: int, passes: int
) -> None:
    monkeypatch.setattr(sweep, "MAX_FOUND", LIMIT)
    broker, records = Broker(count), Records()
    broker.sweeper = Sweeper(broker, records, quiet_seconds=0.01)  # type: ignore[arg-type]
    async with asyncio.timeout(20):
        await broker.sweeper.look()
    assert not broker.waiting
    assert not records.due
    assert broker.passes == passes
