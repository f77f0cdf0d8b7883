"""One open device, seen from its broker and its directory, and people who write by hand."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

from client_sdk.delivery.clock import now_ms
from client_sdk.delivery.pace import Pace
from client_sdk.machine.devices import adopt_device_list
from client_sdk.machine.rows import OutboxEnvelope
from client_sdk.wire import topics
from client_sdk.wire.directory import DeviceListReply, Relation
from client_sdk.wire.ids import DeviceAddress, UserName
from tests.simulation.devices import Device, device, prekeys_ready
from tests.simulation.memory_broker import MemoryBroker
from tests.simulation.small_directory import SmallDirectory
from tests.unit.machine.machine_parties import Party, empty_state, make_party

ALICE, BOB = UserName("alice"), UserName("bob")
SLOW = Pace(resend_seconds=(60.0,), resync_seconds=(60.0,))


class Room:
    """Bob's whole device, and people who write to him by hand."""

    def __init__(self, broker: MemoryBroker, directory: SmallDirectory, bob: Device) -> None:
        self.broker, self.directory, self.bob = broker, directory, bob

    @classmethod
    @asynccontextmanager
    async def opened(cls) -> AsyncIterator[Self]:
        directory = SmallDirectory()
        broker = MemoryBroker(directory)
        async with device("bob", broker, directory, pace=SLOW) as bob:
            await prekeys_ready(directory, bob)
            yield cls(broker, directory, bob)

    def writer(self, name: str) -> Party:
        party = make_party(name)
        party.now = now_ms()
        self.directory.register(party.own)
        published = self.directory.devices[self.bob.context.own.address]
        reply = DeviceListReply(published.device_list, Relation.CONTACT, "", "")
        party.states[BOB], _ = adopt_device_list(empty_state(BOB), reply)
        return party

    def envelope(self, party: Party, text: str) -> OutboxEnvelope:
        bob: Any = self.bob  # a Party names the recipient by its user alone
        if not party.states[BOB].sessions:
            party.begin(bob, self.directory.bundle(self.bob.context.own.address))
        return party.send(bob, text)

    def post(self, party: Party, envelope: OutboxEnvelope) -> str:
        topic = topics.inbox(envelope.recipient, party.address, envelope.envelope_id)
        self.broker.publish(topic, envelope.payload, retain=True)
        return topic

    def published_to(self, address: DeviceAddress) -> list[tuple[str, bytes]]:
        prefix = topics.inbox_prefix(address)
        return [one for one in self.broker.published if one[0].startswith(prefix) and one[1]]

    def waiting(self) -> list[str]:
        prefix = topics.inbox_prefix(self.bob.context.own.address)
        return [one for one in self.broker.retained if one.startswith(prefix)]

    async def until(self, true: Callable[[], bool]) -> None:
        while not true():
            self.bob.running.check()
            await asyncio.sleep(0.02)
