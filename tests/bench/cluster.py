"""A cluster that loses a node, and what it costs to sync each message: ``make cluster``.

Three nodes of nats-server by the generated configuration, `ratchetmq accounts` beside each, one
directory, two devices with their stores, all on this machine. First 5,000 texts a round with one
node killed and started again meanwhile; then the cluster as shipped beside one without
``sync_interval: always``, in turns. The tables are those of docs/benchmarks.md.
"""

import argparse
import asyncio
import math
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

from client_sdk.delivery.broker import transport_of
from client_sdk.messenger import load_own
from client_sdk.stores.sqlite import SqliteStore
from client_sdk.transport.mqtt import Login
from client_sdk.transport.ports import Connection
from client_sdk.wire.invitation import password_text
from tests.bench.brokers import nats
from tests.bench.machine import machine_facts
from tests.e2e.node_loss import ClusterSystem, Plan, Run, Victim, lose_a_node, running_system

VICTIMS: Final[tuple[Victim, ...]] = ("receiver", "sender", "leader")
NODE_OF: Final = {
    "receiver": "the receiver's node",
    "sender": "the sender's node",
    "leader": "the leader of waiting mail",
}
BODY: Final = bytes(300)
COST_TEXTS: Final = 1000
TURNS: Final = 2


class Cost(NamedTuple):
    """Rates a second on one cluster."""

    one_by_one: float
    hundred: float
    texts: float


COST_ROWS: Final = (
    "retained messages of 300 B, one after the other, msg/s",
    "the same, 100 in flight, msg/s",
    "texts from app to app, msg/s",
)


async def lose(program: Path, plan: Plan) -> Run:
    """Return what a round on a cluster of its own saw; fails where anything was lost."""
    with tempfile.TemporaryDirectory(prefix="ratchetmq-cluster-") as folder:
        async with running_system(Path(folder), program) as system:
            run = await lose_a_node(system, plan)
    run.check()
    return run


async def cost(program: Path, *, sync_always: bool) -> Cost:
    """Return the rates of a cluster that nothing is lost on."""
    with tempfile.TemporaryDirectory(prefix="ratchetmq-cluster-") as folder:
        async with running_system(Path(folder), program, sync_always=sync_always) as system:
            async with _connected(system) as (connection, tree):
                one_by_one = await _publish(connection, f"{tree}/a", 500, 1)
                hundred = await _publish(connection, f"{tree}/b", 2000, 100)
            run = await lose_a_node(system, Plan(COST_TEXTS))
    run.check()
    return Cost(one_by_one, hundred, run.whole_rate)


@asynccontextmanager
async def _connected(system: ClusterSystem) -> AsyncIterator[tuple[Connection, str]]:
    """Yield a bare connection under the patient's login, and a place it may write to."""
    store = SqliteStore.open(system.store(system.patient), None)
    try:
        own = await load_own(store)
        invitation = own.record.invitation
        login = Login(own.address, password_text(own.record.credential))
        transport = transport_of(store, invitation, invitation.broker_urls, login)
        async with transport.connect() as connection:
            yield connection, f"v1/u/{own.address}/bench"
    finally:
        await store.close()


async def _publish(connection: Connection, place: str, count: int, window: int) -> float:
    """Return the acknowledged publications a second."""
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await connection.publish(f"{place}/{number}", BODY, retain=True)

    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for _ in range(window):
            group.create_task(work())
    return count / (time.monotonic() - began)


def loss_rows(runs: Sequence[Run]) -> list[list[str]]:
    """Return a row for each thing that was measured: its title, and a cell for each round."""

    def seconds(value: float) -> str:
        return "never in this run" if math.isnan(value) else f"{value:.2f}"

    def link(value: float) -> str:
        return seconds(value) if value else "stayed connected"

    rows: list[tuple[str, Callable[[Run], str]]] = [
        ("texts sent / handed over once", lambda r: f"{len(r.sent):,} / {len(set(r.handed)):,}"),
        ("handed over in the order of sending", lambda r: "yes" if r.handed == r.sent else "no"),
        ("gaps told to the app", lambda r: str(r.gaps)),
        ("texts/s before the loss", lambda r: f"{r.rate_before:.0f}"),
        ("longest pause of hand-over, s", lambda r: seconds(r.receiver.stall(r.lost_at))),
        ("longest pause of receipts, s", lambda r: seconds(r.sender.stall(r.lost_at))),
        ("receiver back on a node after, s", lambda r: link(r.receiver.back_after(r.lost_at))),
        ("sender back on a node after, s", lambda r: link(r.sender.back_after(r.lost_at))),
        ("80 % of the rate again after, s", lambda r: seconds(r.recovered_after())),
        ("texts/s with two nodes from then on", lambda r: f"{_rate_with_two(r):.0f}"),
        ("texts/s with three nodes again", lambda r: f"{_rate_at_the_end(r):.0f}"),
    ]
    return [[title, *(show(run) for run in runs)] for title, show in rows]


def _rate_with_two(run: Run) -> float:
    after = run.recovered_after()
    return run.rate(run.lost_at + (0.0 if math.isnan(after) else after), run.back_at)


def _rate_at_the_end(run: Run) -> float:
    return run.rate(run.back_at, run.receiver.progress[-1])


def _show(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print()
    for row in (headings, ["---", *(["---:"] * (len(headings) - 1))], *rows):
        print(f"| {' | '.join(row)} |", flush=True)


async def measure(program: Path, texts: int, victims: Sequence[Victim]) -> None:
    """Run all rounds and print both tables."""
    runs = []
    for victim in victims:
        plan = Plan(texts, lost_at=texts * 3 // 10, back_at=texts * 7 // 10, victim=victim)
        busy = os.getloadavg()[0]
        print(f"{texts} texts, {NODE_OF[victim]} is killed (load {busy:.1f}) …", flush=True)
        runs.append(await lose(program, plan))
    _show(["killed", *(NODE_OF[victim] for victim in victims)], loss_rows(runs))
    costs: dict[bool, list[Cost]] = {True: [], False: []}
    for turn in range(2 * TURNS):
        always = turn % 2 == 0
        print(f"sync always: {always} (load {os.getloadavg()[0]:.1f}) …", flush=True)
        costs[always].append(await cost(program, sync_always=always))
    rows = []
    for at, title in enumerate(COST_ROWS):
        shipped, late = (statistics.median(one[at] for one in costs[k]) for k in (True, False))
        rows.append([title, f"{shipped:,.0f}", f"{late:,.0f}", f"{late / shipped:.2f}"])
    _show(["", "sync always (as shipped)", "every two minutes (NATS' default)", "times"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cluster")
    parser.add_argument("--texts", type=int, default=5000)
    parser.add_argument("--victims", nargs="+", choices=VICTIMS, default=VICTIMS)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ratchetmq-nats-") as scratch:
        program, reason = nats.install(Path(scratch))
        if program is None:
            raise SystemExit(f"nats-server was not installed: {reason}")
        facts = machine_facts()
        print(f"{facts['cores']} cores, {facts['cpu']}, Python {facts['python']}", flush=True)
        asyncio.run(measure(program, chosen.texts, chosen.victims))


if __name__ == "__main__":
    main()
