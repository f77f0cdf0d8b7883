"""What a measurement is: times taken one by one, and the row that tells of them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Final

NS_PER_US: Final = 1_000
NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        key: Its stable name in bench.json.
        title: What was timed.
        unit: ``us``, ``ms``, ``msg/s``, ``B`` or ``MB``.
        value: The median, unless the title names another quantile.
        low: The lower quartile of what was taken; with ``high`` the spread.
        high: The upper quartile.
        n: Samples; a rate has one a round.
        raw: The key of the row without our code that it is compared with; None for such a row.
    """

    key: str
    title: str
    unit: str
    value: float
    low: float
    high: float
    n: int
    raw: str | None = None


@dataclass(frozen=True, slots=True)
class Label:
    """The words of a row, before it was measured."""

    key: str
    title: str
    raw: str | None = None


def time_row(label: Label, unit: str, samples: Sequence[int], share: float = 0.5) -> Row:
    """Return the row of times in ns; ``share`` is the quantile shown, 0.5 the median."""
    scale = {"us": NS_PER_US, "ms": NS_PER_MS}[unit]
    return _row(label, unit, [one / scale for one in samples], share)


def rate_row(label: Label, rates: Sequence[float]) -> Row:
    """Return the row of messages a second, one a round."""
    return _row(label, "msg/s", list(rates), 0.5)


def size_row(label: Label, unit: str, sizes: Sequence[float]) -> Row:
    """Return the row of sizes in ``unit``."""
    return _row(label, unit, list(sizes), 0.5)


def _row(label: Label, unit: str, values: list[float], share: float) -> Row:
    low, high = quartiles(values)
    shown = median(values) if share == 0.5 else quantile(values, share)
    return Row(label.key, label.title, unit, shown, low, high, len(values), label.raw)


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """Return the lower and upper quartile."""
    if len(values) == 1:
        return values[0], values[0]
    cut = quantiles(values, n=4, method="inclusive")
    return cut[0], cut[2]


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that ``share`` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def times_raw(row: Row, raw: Row) -> float:
    """Return how many times as long as ``raw`` it took; rates become times for this."""
    return raw.value / row.value if row.unit == "msg/s" else in_ns(row) / in_ns(raw)


def in_ns(row: Row) -> float:
    """Return the value of a row of times in ns."""
    return row.value * {"us": NS_PER_US, "ms": NS_PER_MS}[row.unit]


def clock(run: Callable[[], object]) -> int:
    """Return how long one call took, in ns."""
    began = time.perf_counter_ns()
    run()
    return time.perf_counter_ns() - began


def clocks(run: Callable[[], object], count: int) -> list[int]:
    """Return how long each of ``count`` calls took, in ns."""
    return [clock(run) for _ in range(count)]
