"""``make kill-broker``: kill -9 amid acknowledged retained publishes and clears, ours beside amqtt.

What was acknowledged before the kill is looked for after a restart in the same folder. The ledger
is what the publisher has read, never what the broker says of itself. A message that was cleared may
come back: nobody waits for a clear to be on disk, and every reader takes mail at least once.
"""

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from tests.brokers.names import ALICE, BOB, SECRETS, mail_topic
from tests.brokers.process import broker_process, write_wanted
from tests.conformance.client import Client, Clients, ClosedError
from tests.conformance.packets import PUBACK, Hello, publish

PUBLISHES: Final = 3_000
KILLS: Final = 20
WINDOW: Final = 20
CLEARED: Final = 5
"""Every so many publishes the oldest message that waits is cleared."""

SUBJECTS: Final = {
    "ours": "tests.brokers.broker_process",
    "plain amqtt": "tests.brokers.plain_process",
}
_LIMITS = {"max_pair_messages": 100_000}


class Outcome(NamedTuple):
    """Of one kill: acknowledged messages and clears, and how many of them were lost."""

    kept: int
    lost: int
    cleared: int
    resurrected: int


@dataclass
class Ledger:
    """What the publisher was told; at ``stop_at`` acknowledgements the broker is killed."""

    stop_at: int
    acknowledged: int = 0
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: dict[str, bytes] = field(default_factory=dict)
    """Acknowledged, and no clear of it was sent."""
    cleared: set[str] = field(default_factory=set)
    """Its clear was acknowledged."""


async def kill_once(subject: str, seed: int, count: int, folder: Path) -> Outcome:
    """Publish, kill at a random acknowledgement, restart, and compare with the ledger."""
    wanted = write_wanted(folder, f"{seed}", secrets=SECRETS, limits=_LIMITS)
    ledger = Ledger(random.Random(seed).randrange(1, count))
    async with (
        broker_process(SUBJECTS[subject], wanted) as running,
        Clients(running.port) as clients,
    ):
        sending = asyncio.create_task(_send(await clients.connect(_hello(ALICE)), ledger, count))
        stopping = asyncio.create_task(ledger.reached.wait())
        await asyncio.wait({sending, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        await running.kill()
        await sending
    async with (
        broker_process(SUBJECTS[subject], wanted) as running,
        Clients(running.port) as clients,
    ):
        found = await _mail(await clients.connect(_hello(BOB)), len(ledger.waiting))
    lost = sum(found.get(topic) != payload for topic, payload in ledger.waiting.items())
    again = len(ledger.cleared & found.keys())
    return Outcome(len(ledger.waiting), lost, len(ledger.cleared), again)


def _hello(name: str) -> Hello:
    return Hello(name, username=name, password=SECRETS[name].encode())


async def _send(alice: Client, ledger: Ledger, count: int) -> None:
    """Publish with a window until the broker is gone."""
    sent: dict[int, tuple[str, bytes]] = {}
    number = 0
    with contextlib.suppress(ClosedError, ConnectionError):
        while number < count or sent:
            while number < count and len(sent) < WINDOW:
                number += 1
                sent[number] = _next(ledger, number)
                topic, payload = sent[number]
                alice.send(publish(topic, payload, 1, retain=True, packet_id=number))
            topic, payload = sent.pop((await alice.expect(PUBACK)).packet_id)
            ledger.acknowledged += 1
            if ledger.acknowledged >= ledger.stop_at:
                ledger.reached.set()
            if payload:
                ledger.waiting[topic] = payload
            else:
                ledger.cleared.add(topic)


def _next(ledger: Ledger, number: int) -> tuple[str, bytes]:
    if number % CLEARED == 0 and ledger.waiting:
        oldest = next(iter(ledger.waiting))
        del ledger.waiting[oldest]
        return oldest, b""
    return mail_topic(number), b"%d " % number + bytes(number % 400)


async def _mail(bob: Client, count: int) -> dict[str, bytes]:
    """Return all that waits for bob: what was asked for, and nothing for a while after it."""
    await bob.subscribe(f"v1/u/{BOB}/in/+/+", qos=1)
    found: dict[str, bytes] = {}
    with contextlib.suppress(TimeoutError):
        while True:
            async with asyncio.timeout(0.5 if len(found) >= count else 2.0):
                message = await bob.acknowledge(await bob.message())
            found[message.topic] = message.payload
    return found


async def kills(subject: str, seed: int, number: int, count: int) -> list[Outcome]:
    """Return the outcomes of ``number`` kills, each in a folder of its own."""
    outcomes = []
    for turn in range(number):
        with tempfile.TemporaryDirectory(prefix="ratchetmq-kill-") as folder:
            outcomes.append(await kill_once(subject, seed + turn, count, Path(folder)))
    return outcomes


def shown(subject: str, outcomes: list[Outcome]) -> str:
    """Return the row of one subject."""
    kept, lost, cleared, again = (sum(column) for column in zip(*outcomes, strict=True))
    return f"{subject:12} {len(outcomes):>5} {kept:>12} {lost:>6} {cleared:>7} {again:>9}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make kill-broker", description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--publishes", type=int, default=PUBLISHES, help="of each kill, at most")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    wanted = parser.parse_args()
    print(f"seed {wanted.seed}; kill -9 amid {wanted.publishes} retained publishes at QoS 1")
    print(f"{'':12} {'kills':>5} {'acknowledged':>12} {'lost':>6} {'cleared':>7} {'back':>9}")
    good = True
    for subject in SUBJECTS:
        outcomes = asyncio.run(kills(subject, wanted.seed, wanted.kills, wanted.publishes))
        print(shown(subject, outcomes), flush=True)
        good = good and (subject != "ours" or not any(one.lost for one in outcomes))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
