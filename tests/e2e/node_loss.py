"""A cluster that loses a node while messages are under way: who notices, and for how long.

The ledger has every text that ``send`` took and every text that the other app was handed; they have
to be the same, once each and in the order of sending.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal

from client_sdk import Messenger
from client_sdk.machine.events import Delivered, Gap
from client_sdk.transport.addresses import spread
from keydir.commands import Invite, invite
from keydir.config import DirectorySettings
from tests.brokers.cluster import START_SECONDS, Cluster
from tests.e2e.programs import Program, ratchetmq

Victim = Literal["receiver", "sender", "leader"]
"""The node that a device is connected to, or the one that leads the stream of waiting mail."""

DOCTOR: Final = "house"
PATIENCE_SECONDS: Final = 180.0
"""For all that is left to arrive; an outbox repeats after 30 s, and once more after 120 s."""

BACKLOG: Final = 1000
"""Texts that were sent and have not arrived; with more, the sending app waits."""

LOOK_SECONDS: Final = 0.01
WINDOW_SECONDS: Final = 2.0
RECOVERED: Final = 0.8
"""The rate has recovered in the first window that has this share of the rate before."""


@dataclass(frozen=True)
class Plan:
    """How many texts, when the node is lost and when it comes back, counted in arrived texts.

    Without a victim nothing is lost.
    """

    texts: int
    lost_at: int = 0
    back_at: int = 0
    victim: Victim | None = None


@dataclass
class Line:
    """One device's connection: when it was there, and what came over it."""

    messenger: Messenger
    changes: list[tuple[float, bool]] = field(default_factory=list)
    progress: list[float] = field(default_factory=list)
    """When a text was handed over, or its receipt came."""

    def back_after(self, moment: float) -> float:
        """Return the seconds until the connection that ended at a moment was there again; or 0."""
        later = [(at, up) for at, up in self.changes if at >= moment]
        down = next((at for at, up in later if not up), None)
        if down is None:
            return 0.0
        return next(at for at, up in later if up and at > down) - moment

    def stall(self, moment: float) -> float:
        """Return the longest pause that ended after a moment, in seconds."""
        return max(later - at for at, later in pairwise(self.progress) if later > moment)


@dataclass
class Run:
    """What one run saw; times are of the monotonic clock in seconds."""

    plan: Plan
    sender: Line
    receiver: Line
    sent: list[str] = field(default_factory=list)
    handed: list[str] = field(default_factory=list)
    gaps: int = 0
    lost_at: float = 0.0
    back_at: float = 0.0

    def check(self) -> None:
        """Fail unless each text came once, and in order; a gap that was told excuses the order."""
        assert len(self.sent) == self.plan.texts
        missing = set(self.sent) - set(self.handed)
        assert not missing, f"lost: {sorted(missing)[:5]} and {len(missing)} in all"
        assert len(self.handed) == len(set(self.handed)), "handed over twice"
        assert self.gaps or self.handed == self.sent, "in another order than sent, without a gap"

    def rate(self, begin: float, end: float) -> float:
        """Return the texts a second that were handed over between two moments."""
        return sum(begin <= at < end for at in self.receiver.progress) / max(end - begin, 0.001)

    @property
    def rate_before(self) -> float:
        return self.rate(self.receiver.progress[0], self.lost_at)

    @property
    def whole_rate(self) -> float:
        return self.rate(self.receiver.progress[0], self.receiver.progress[-1])

    def recovered_after(self) -> float:
        """Return the seconds from the loss until the rate was there again."""
        enough = RECOVERED * self.rate_before
        for at in self.receiver.progress:
            if at > self.lost_at and self.rate(at, at + WINDOW_SECONDS) >= enough:
                return at - self.lost_at
        return float("nan")


@dataclass
class ClusterSystem:
    """A running cluster with its directory, and two devices that begin at different nodes."""

    cluster: Cluster
    folder: Path
    patient: str

    def store(self, user: str) -> Path:
        return self.folder / f"{user}.db"

    async def enrol(self, user: str, role: str) -> None:
        settings = DirectorySettings(data_dir=self.cluster.data)
        line = (await asyncio.to_thread(invite, settings, Invite(user, role))).invitation
        await Messenger.enroll(line, self.store(user))


@asynccontextmanager
async def running_system(
    folder: Path, program: Path, *, sync_always: bool = True
) -> AsyncIterator[ClusterSystem]:
    """Run cluster, accounts and directory, and enrol a doctor and a patient."""
    cluster = Cluster(folder, program, sync_always=sync_always)
    urls = [word for url in cluster.urls for word in ("--broker-url", url)]
    command = ratchetmq("keydir", "--data", str(cluster.data), *urls, "--json")
    with cluster, Program(command) as directory:
        assert directory.row(START_SECONDS) == {"event": "ready"}
        system = ClusterSystem(cluster, folder, _patient(cluster.urls))
        await system.enrol(DOCTOR, "doctor")
        await system.enrol(system.patient, "patient")
        yield system


async def lose_a_node(system: ClusterSystem, plan: Plan) -> Run:
    """Send texts from doctor to patient, kill the victim's node and start it again meanwhile."""
    async with (
        Messenger.open(system.store(DOCTOR)) as doctor,
        Messenger.open(system.store(system.patient)) as patient,
    ):
        run = Run(plan, Line(doctor), Line(patient))
        taking = aiter(patient.messages())
        first = await doctor.send(system.patient, "first")
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert (await anext(taking)).text == "first"
            await first.delivered()
        watching = [
            asyncio.create_task(work)
            for work in (_look(run.sender), _look(run.receiver), _receipts(run), _gaps(run))
        ]
        async with asyncio.timeout(2 * PATIENCE_SECONDS), asyncio.TaskGroup() as group:
            group.create_task(_take(run, taking))
            if plan.victim is not None:
                group.create_task(_disturb(run, system.cluster, plan.victim))
            await _send(run, system.patient)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await _until(lambda: len(run.sender.progress) >= plan.texts)
        for task in watching:
            task.cancel()
        return run


async def _send(run: Run, to: str) -> None:
    for number in range(run.plan.texts):
        await _until(lambda: len(run.sent) - len(run.handed) <= BACKLOG)
        text = f"text {number} {'.' * 50}"
        await run.sender.messenger.send(to, text)
        run.sent.append(text)


async def _take(run: Run, messages: AsyncIterator[object]) -> None:
    async for message in messages:
        run.receiver.progress.append(time.monotonic())
        run.handed.append(str(getattr(message, "text", None)))
        if len(run.handed) >= run.plan.texts:
            return


async def _disturb(run: Run, cluster: Cluster, victim: Victim) -> None:
    plan = run.plan
    await _until(lambda: len(run.handed) >= plan.lost_at)
    if victim == "leader":
        node = await cluster.leader()
    else:
        line = run.receiver if victim == "receiver" else run.sender
        node = cluster.number_of(await line.messenger.broker_url())
    run.lost_at = time.monotonic()
    await asyncio.to_thread(cluster.kill_node, node)
    await _until(lambda: len(run.handed) >= plan.back_at)
    run.back_at = time.monotonic()
    cluster.start_node(node)


async def _until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - what is counted rings no bell
        await asyncio.sleep(LOOK_SECONDS)


async def _look(line: Line) -> None:
    """Note every change of a connection."""
    while True:
        up = line.messenger.connected
        if not line.changes or line.changes[-1][1] is not up:
            line.changes.append((time.monotonic(), up))
        await asyncio.sleep(LOOK_SECONDS)


async def _receipts(run: Run) -> None:
    async for event in run.sender.messenger.events():
        if isinstance(event, Delivered):
            run.sender.progress.append(time.monotonic())


async def _gaps(run: Run) -> None:
    async for event in run.receiver.messenger.events():
        run.gaps += isinstance(event, Gap)


def _patient(urls: tuple[str, ...]) -> str:
    """Return a user whose device begins at another node than the doctor's."""
    first = spread(urls, f"{DOCTOR}-1")[0]
    names = (f"pat{number}" for number in range(100))
    return next(name for name in names if spread(urls, f"{name}-1")[0] != first)
