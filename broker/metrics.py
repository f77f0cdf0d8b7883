"""What the broker shows to Prometheus, read on the event loop and by nothing else."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as WaitedTooLongError
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, runtime_checkable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from broker.statistics import Statistics

ANSWER_SECONDS: Final = 1.0
"""An event loop that takes longer to answer is not ready."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The broker at one moment."""

    statistics: Statistics
    connections: int = 0
    """Open connections that have logged in."""
    sessions: int = 0
    """Persistent sessions that are kept, connected or not."""
    waiting_messages: int = 0
    """Retained messages that wait."""
    waiting_bytes: int = 0
    """Their payload bytes."""
    queued_messages: int = 0
    """Messages queued for single clients, slow or absent."""
    storing: bool = True
    """Whether the last transaction of waiting mail succeeded; also before the first."""


@runtime_checkable
class Watched(Protocol):
    """What an engine tells whoever watches it."""

    def snapshot(self) -> Snapshot:
        """Return the broker as it is; called on its event loop, answers at once."""
        ...


class NotAnsweringError(Exception):
    """The event loop did not answer in time, or has ended."""


class Look:
    """A way to look at the broker from another thread."""

    def __init__(self, watched: Watched) -> None:
        """Look at ``watched``, whose event loop is the running one."""
        self._watched = watched
        self._loop = asyncio.get_running_loop()

    def __call__(self) -> Snapshot:
        """Return a snapshot.

        Raises:
            NotAnsweringError: The loop did not answer within ``ANSWER_SECONDS``.
        """
        answer: Future[Snapshot] = Future()

        def take() -> None:
            try:
                answer.set_result(self._watched.snapshot())
            except Exception as error:  # noqa: BLE001 - raised where it was asked for
                answer.set_exception(error)

        try:
            self._loop.call_soon_threadsafe(take)
            return answer.result(ANSWER_SECONDS)
        except (WaitedTooLongError, RuntimeError) as error:
            raise NotAnsweringError from error


class _Shown(NamedTuple):
    name: str
    told: str
    value: Callable[[Snapshot], float]


GAUGES: Final = (
    _Shown("ratchetmq_connections", "Clients that are logged in.", lambda s: s.connections),
    _Shown("ratchetmq_sessions", "Persistent sessions that are kept.", lambda s: s.sessions),
    _Shown("ratchetmq_waiting_messages", "Messages that wait.", lambda s: s.waiting_messages),
    _Shown("ratchetmq_waiting_bytes", "Their payload bytes.", lambda s: s.waiting_bytes),
    _Shown(
        "ratchetmq_queued_messages",
        "Messages queued for slow or absent clients.",
        lambda s: s.queued_messages,
    ),
)

COUNTERS: Final = (
    _Shown("ratchetmq_logins", "Logins accepted.", lambda s: s.statistics.connections),
    _Shown("ratchetmq_messages_in", "PUBLISH accepted.", lambda s: s.statistics.messages_in),
    _Shown("ratchetmq_messages_out", "PUBLISH written.", lambda s: s.statistics.messages_out),
    _Shown("ratchetmq_bytes_in", "Bytes received.", lambda s: s.statistics.bytes_in),
    _Shown("ratchetmq_bytes_out", "Bytes written.", lambda s: s.statistics.bytes_out),
    _Shown("ratchetmq_commits", "Transactions of waiting mail.", lambda s: s.statistics.commits),
    _Shown(
        "ratchetmq_commit_seconds",
        "Time spent in transactions of waiting mail.",
        lambda s: s.statistics.commit_seconds,
    ),
    _Shown(
        "ratchetmq_commit_failures",
        "Transactions of waiting mail that failed.",
        lambda s: s.statistics.commit_failures,
    ),
    _Shown("ratchetmq_expired", "Waiting messages dropped by age.", lambda s: s.statistics.expired),
)

BY_REASON: Final = (
    ("ratchetmq_refused", "Logins, publications and subscriptions refused."),
    ("ratchetmq_dropped", "Messages not delivered and connections ended."),
)

METRICS: Final = tuple(
    [shown.name for shown in GAUGES]
    + [f"{shown.name}_total" for shown in COUNTERS]
    + [f"{name}_total" for name, _ in BY_REASON]
)
"""The name of every metric; none has a label but ``reason``, a fixed set of words."""


class BrokerCollector(Collector):
    """Makes the metrics of one moment, whenever Prometheus asks."""

    def __init__(self, look: Look) -> None:
        """Take each moment by ``look``."""
        self._look = look

    def describe(self) -> list[Metric]:
        """Return nothing: a registration takes no look."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every metric; NotAnsweringError where the loop does not answer."""
        now = self._look()
        for name, told, value in GAUGES:
            yield GaugeMetricFamily(name, told, value=value(now))
        for name, told, value in COUNTERS:
            yield CounterMetricFamily(name, told, value=value(now))
        reasons = (now.statistics.refused, now.statistics.dropped)
        for (name, told), counted in zip(BY_REASON, reasons, strict=True):
            yield _by_reason(name, told, counted)


def _by_reason(name: str, told: str, counted: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, told, labels=["reason"])
    for reason, count in sorted(counted.items()):
        family.add_metric([reason], count)
    return family
