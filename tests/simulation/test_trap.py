"""Both sides send 100 unanswered, one is dropped in the middle and comes back later."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from client_sdk.delivery.clock import now_ms
from client_sdk.delivery.pace import Pace
from client_sdk.machine.rows import MessageState
from client_sdk.machine.streams import GAP_TIMEOUT_MS
from client_sdk.wire.ids import UserName
from tests.simulation.devices import Device, device, prekeys_ready
from tests.simulation.memory_broker import MemoryBroker
from tests.simulation.small_directory import SmallDirectory

ALICE, BOB = UserName("alice"), UserName("bob")
COUNT = 100
MOST_AFTERWARDS = 20
"""Envelopes of both sides after the flood: receipts, a hundred in each, some of them early."""

NO_REPEATS = Pace(resend_seconds=(600.0,), resync_seconds=(0.5,))


@dataclass
class HoldingBroker(MemoryBroker):
    """A broker that keeps mail back until it is told to let go."""

    holding: bool = False
    held: list[tuple[str, bytes]] = field(default_factory=list)

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        if self.holding and "/in/" in topic and payload:
            self.held.append((topic, payload))
        else:
            super().publish(topic, payload, retain=retain)

    def mail(self) -> list[str]:
        return [topic for topic, payload in self.published if "/in/" in topic and payload]


async def until_quiet(broker: HoldingBroker, devices: Sequence[Device]) -> None:
    """Return when nobody owes anybody anything."""
    while True:
        owed = 0
        for one in devices:
            one.running.check()
            store = one.context.store
            owed += len(await store.receipts_due(9)) + len(await store.due_envelopes(now_ms(), 9))
            owed += len(await store.candidates_seen(now_ms() + 1, 9))
            owed += (await store.counts()).under_way
        if not owed and not [topic for topic in broker.retained if "/in/" in topic]:
            return
        await asyncio.sleep(0.05)


@asynccontextmanager
async def talking() -> AsyncIterator[tuple[HoldingBroker, Device, Device]]:
    """Give a broker, and two devices that have written to each other and are quiet."""
    directory = SmallDirectory()
    broker = HoldingBroker(directory)
    async with (
        asyncio.timeout(100),
        device("alice", broker, directory, pace=NO_REPEATS) as alice,
        device("bob", broker, directory, pace=NO_REPEATS) as bob,
    ):
        await prekeys_ready(directory, alice, bob)
        await alice.reaches(await alice.send(BOB, "first"), MessageState.DELIVERED)
        await bob.reaches(await bob.send(ALICE, "first"), MessageState.DELIVERED)
        await until_quiet(broker, (alice, bob))
        yield broker, alice, bob


async def test_a_hundred_each_way_unanswered_with_one_late_lose_nothing_and_come_to_rest() -> None:
    async with talking() as (broker, alice, bob):
        broker.holding = True
        for number in range(COUNT):
            await alice.send(BOB, f"a{number}")
            await bob.send(ALICE, f"b{number}")
        while len(broker.held) < 2 * COUNT:  # noqa: ASYNC110 - a test may look
            await asyncio.sleep(0.02)
        broker.holding = False
        to_bob = [one for one in broker.held if f"/{BOB}-1/in/" in one[0]]
        late = to_bob[COUNT // 2]
        sent_before = len(broker.mail())
        for topic, payload in broker.held:
            if (topic, payload) != late:
                broker.publish(topic, payload, retain=True)
        await alice.take(COUNT + 1)
        await bob.take(COUNT // 2 + 1)
        while not await bob.context.store.gaps_since(now_ms()):  # noqa: ASYNC110 - a test may look
            await asyncio.sleep(0.02)
        await bob.context.store._execute(  # type: ignore[attr-defined]
            f"UPDATE streams SET gap_since = gap_since - {GAP_TIMEOUT_MS}", ()
        )
        await bob.take(COUNT)
        broker.publish(*late, retain=True)
        at_bob = await bob.take(COUNT + 1)
        await until_quiet(broker, (alice, bob))
        afterwards = len(broker.mail()) - sent_before - 2 * COUNT
        assert 0 < afterwards <= MOST_AFTERWARDS
        assert alice.taken == ["first", *(f"b{number}" for number in range(COUNT))]
        assert sorted(map(str, at_bob)) == sorted(["first", *(f"a{n}" for n in range(COUNT))])
        broker.cut()  # everybody connects again and looks for anything left to say
        await alice.reaches(await alice.send(BOB, "last"), MessageState.DELIVERED)
        await until_quiet(broker, (alice, bob))
        assert len(broker.mail()) - sent_before - 2 * COUNT <= afterwards + 4


async def test_a_peer_that_lost_its_session_is_healed_within_two_round_trips() -> None:
    async with talking() as (broker, alice, bob):
        for table in ("sessions", "streams"):
            await bob.context.store._execute(f"DELETE FROM {table}", ())  # type: ignore[attr-defined]
        await bob.context.store._execute(  # type: ignore[attr-defined]
            "UPDATE peers SET revision = revision + 1", ()
        )
        before = len(broker.mail())
        lost = await alice.send(BOB, "sealed for the lost session")
        await alice.reaches(lost, MessageState.DELIVERED)
        await until_quiet(broker, (alice, bob))
        ways = [topic.split("/")[2] for topic in broker.mail()[before:]]
        turns = [way for at, way in enumerate(ways) if at == 0 or ways[at - 1] != way]
        # The lost one; its request and what is sealed again; the receipt.
        assert turns == ["bob-1", "alice-1", "bob-1", "alice-1"]
        assert len(ways) == 5
