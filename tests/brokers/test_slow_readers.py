"""Who reads slowly, or acknowledges nothing, costs bounded memory and loses no waiting mail."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from broker.limits import MIB
from tests.brokers.names import ALICE, BOB, MALLORY, SECRETS, mail_topic
from tests.brokers.process import BrokerProcess, broker_process, write_wanted
from tests.brokers.process_memory import resident_bytes
from tests.conformance.client import Client, Clients
from tests.conformance.packets import PUBACK, Hello, publish

MESSAGES, SIZE = 1500, 50_000
"""75 MB in all: several times what the broker may hold for one client."""
MAX_GROWTH = 40 * MIB
WINDOW = 50
INBOX = f"v1/u/{BOB}/in/+/+"


@asynccontextmanager
async def roomy_broker(folder: Path) -> AsyncIterator[tuple[BrokerProcess, Clients]]:
    limits = {"max_pair_messages": 10 * MESSAGES, "max_pair_bytes": 1024 * MIB}
    wanted = write_wanted(folder, "roomy", secrets=SECRETS, limits=limits)
    async with (
        broker_process("tests.brokers.broker_process", wanted) as running,
        Clients(running.port) as clients,
    ):
        yield running, clients


def hello(name: str) -> Hello:
    return Hello(name, username=name, password=SECRETS[name].encode())


def payload(number: int) -> bytes:
    return number.to_bytes(4) + bytes(SIZE)


async def fill(alice: Client, first: int, count: int) -> None:
    """Publish with a window; return when all are acknowledged."""
    open_now = 0
    for number in range(first, first + count):
        packet = publish(mail_topic(number), payload(number), 1, retain=True, packet_id=number + 1)
        alice.send(packet)
        open_now += 1
        if open_now == WINDOW:
            await alice.expect(PUBACK)
            open_now -= 1
    for _ in range(open_now):
        await alice.expect(PUBACK)


async def numbers_until_all(bob: Client, count: int) -> list[int]:
    """Read and acknowledge until every message came; their numbers in order of their first."""
    found: dict[int, None] = {}
    async with asyncio.timeout(60):
        while len(found) < count:
            (message,) = await bob.messages(1)
            number = int.from_bytes(message.payload[:4])
            assert message.payload == payload(number)
            found[number] = None
    return list(found)


async def test_a_client_that_does_not_read_is_sent_all_its_mail_when_it_does(
    tmp_path: Path,
) -> None:
    async with roomy_broker(tmp_path) as (running, clients):
        alice, bob = await clients.connect(hello(ALICE)), await clients.connect(hello(BOB))
        await bob.subscribe(INBOX, qos=1)
        before = resident_bytes(running.pid)
        await fill(alice, 0, MESSAGES)
        assert resident_bytes(running.pid) - before < MAX_GROWTH
        mallory = await clients.connect(hello(MALLORY))
        await mallory.publish(mail_topic(1, sender=MALLORY, recipient=ALICE), retain=True)
        assert await numbers_until_all(bob, MESSAGES) == list(range(MESSAGES))


async def test_a_client_that_acknowledges_nothing_is_not_sent_all_at_once(tmp_path: Path) -> None:
    async with roomy_broker(tmp_path) as (running, clients):
        alice = await clients.connect(hello(ALICE))
        await fill(alice, 0, MESSAGES)
        before = resident_bytes(running.pid)
        bob = await clients.connect(hello(BOB))
        await bob.subscribe(INBOX, qos=1)
        reading = asyncio.create_task(_read_for_ever(bob))
        await fill(alice, MESSAGES, 50)
        await alice.ping()
        assert resident_bytes(running.pid) - before < MAX_GROWTH
        reading.cancel()
        again = await clients.connect(hello(BOB))
        await again.subscribe(INBOX, qos=1)
        found = await numbers_until_all(again, MESSAGES + 50)
        assert found == list(range(MESSAGES + 50))


async def test_mail_that_arrives_during_a_replay_is_neither_lost_nor_out_of_order(
    tmp_path: Path,
) -> None:
    async with roomy_broker(tmp_path) as (_, clients):
        alice, bob = await clients.connect(hello(ALICE)), await clients.connect(hello(BOB))
        await fill(alice, 0, 300)
        await bob.subscribe(INBOX, qos=1)
        filling = asyncio.create_task(fill(alice, 300, 300))
        found = await numbers_until_all(bob, 600)
        await filling
        assert found == list(range(600))


async def _read_for_ever(bob: Client) -> None:
    while True:
        await bob.message()
