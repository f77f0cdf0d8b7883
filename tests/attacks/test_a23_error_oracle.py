"""A23: however a forged envelope fails, the sender and the broker see the same: it is cleared.

What may be a lost session's is asked for again instead, also always in the same way: see
``tests/unit/delivery/test_rules_of_healing.py``.
"""

import asyncio
from collections.abc import Callable

from client_sdk import entropy
from client_sdk.delivery.clock import now_ms
from client_sdk.delivery.pace import Pace
from client_sdk.machine.devices import adopt_device_list
from client_sdk.machine.rows import OutboxEnvelope
from client_sdk.wire import topics
from client_sdk.wire.directory import DeviceListReply, Relation
from client_sdk.wire.ids import EnvelopeId, UserName
from tests.attacks.scene import some_point, with_handshake, with_header, with_kem_bit, with_payload
from tests.simulation.devices import Device, device, prekeys_ready
from tests.simulation.memory_broker import MemoryBroker
from tests.simulation.small_directory import SmallDirectory
from tests.unit.machine.machine_parties import Party, empty_state, make_party

BOB = UserName("bob")
QUIET = Pace(resend_seconds=(600.0,), resync_seconds=(600.0,))


def flipped(envelope: OutboxEnvelope) -> OutboxEnvelope:
    return with_payload(envelope, envelope.payload[:-1] + bytes([envelope.payload[-1] ^ 1]))


def moved(envelope: OutboxEnvelope) -> OutboxEnvelope:
    return envelope._replace(envelope_id=EnvelopeId(entropy.draw_id()))


FORGERIES: dict[str, Callable[[OutboxEnvelope], OutboxEnvelope]] = {
    "no envelope": lambda one: with_payload(one, b"\xc1" * len(one.payload)),
    "a flipped bit of the tag": flipped,
    "moved to another id": moved,
    "a ratchet key of small order": lambda one: with_header(one, ratchet_key=b"\x01" + bytes(32)),
    "another ratchet key": lambda one: with_header(one, ratchet_key=some_point()),
    "a post-quantum part that is none": lambda one: with_header(one, pq_message=b"x"),
    "an epoch that is not here": lambda one: with_header(one, pq_message=b"\x00\x00\x00\x09" * 2),
    "a prekey that is not here": lambda one: with_handshake(one, signed_prekey_id=999),
    "a flipped bit of the KEM ciphertext": lambda one: with_kem_bit(one, 77),
}


def writer(directory: SmallDirectory, bob: Device) -> Party:
    """Return alice, who writes by hand, as a contact of bob's running device."""
    alice = make_party("alice")
    alice.now = now_ms()
    directory.register(alice.own)
    published = directory.devices[bob.context.own.address].device_list
    reply = DeviceListReply(published, Relation.CONTACT, "", "")
    alice.states[BOB], _ = adopt_device_list(empty_state(BOB), reply)
    return alice


async def test_a23_all_failures_look_the_same_from_outside() -> None:
    directory = SmallDirectory()
    broker = MemoryBroker(directory)
    async with asyncio.timeout(100), device("bob", broker, directory, pace=QUIET) as bob:
        await prekeys_ready(directory, bob)
        address = bob.context.own.address
        alice = writer(directory, bob)
        alice.begin(Anybody(bob), directory.bundle(address))  # type: ignore[arg-type]

        async def post(envelope: OutboxEnvelope) -> list[tuple[str, bytes]]:
            """Publish; return what went over the broker until the envelope was cleared."""
            topic = topics.inbox(address, alice.address, envelope.envelope_id)
            seen = len(broker.published)
            broker.publish(topic, envelope.payload, retain=True)
            while topic in broker.retained:
                bob.running.check()
                await asyncio.sleep(0.01)
            return broker.published[seen + 1 :]

        async def receipts(count: int) -> None:
            prefix = topics.inbox_prefix(alice.address)
            while len([one for one in broker.published if one[0].startswith(prefix)]) < count:
                bob.running.check()
                await asyncio.sleep(0.01)

        await post(alice.send(Anybody(bob), "hello"))  # type: ignore[arg-type]
        await bob.take(1)
        await receipts(1)
        honest = alice.send(Anybody(bob), "honest")  # type: ignore[arg-type]
        for name, forge in FORGERIES.items():
            forged = forge(honest)
            topic = topics.inbox(address, alice.address, forged.envelope_id)
            seen = [one for one in await post(forged) if "/kd/" not in one[0]]
            assert seen == [(topic, b"")], name
        await post(honest)  # a barrier: what the forgeries caused would have come before
        assert (await bob.take(2))[-1] == "honest"
        await receipts(2)
        prefix = topics.inbox_prefix(alice.address)
        answers = [one for one in broker.published if one[0].startswith(prefix)]
        assert len(answers) == 2


class Anybody:
    """Names a recipient by user and address alone, as ``Party.send`` wants it."""

    def __init__(self, bob: Device) -> None:
        self.user, self.address = bob.user, bob.context.own.address
