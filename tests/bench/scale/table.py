"""The tables for people and the JSON file for programs."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from tests.bench.machine import machine_facts
from tests.bench.scale.counts import Counts
from tests.bench.scale.deployments import TITLES
from tests.bench.scale.directory import BundleRow
from tests.bench.scale.plots import DATABASES
from tests.bench.scale.travel import TravelRow

P99_AIM: Final = 1.5
"""How much longer the slowest hundredth of bundles may take with the most users."""

Lines = list[list[str]]


def as_json(
    counts: Counts,
    travel: Sequence[TravelRow],
    bundles: Sequence[BundleRow],
    notes: Sequence[str],
) -> dict[str, Any]:
    """Return what the file holds."""
    return {
        "machine": machine_facts(),
        "settings": asdict(counts),
        "travel": [asdict(row) for row in travel],
        "bundles": [asdict(row) for row in bundles],
        "p99_ratios": [
            {"database": kind, "replicas": replicas, "ratio": ratio}
            for kind, replicas, ratio in p99_ratios(bundles)
        ],
        "notes": list(notes),
    }


def travel_lines(rows: Sequence[TravelRow]) -> Lines:
    """Return the table of messages, its heading first."""
    heading = [
        *("broker", "clients", "messages/s", "p50 / p99, ms", "paced, messages/s"),
        *("paced p50 / p99, ms", "cores: broker", "directory", "clients", "machine busy"),
    ]
    return [
        heading,
        *(
            [
                TITLES[row.broker],
                f"{row.clients:,}",
                _number(row.rate),
                f"{_number(row.full_p50)} / {_number(row.full_p99)}",
                _number(row.paced),
                f"{_number(row.p50)} / {_number(row.p99)}",
                *(_cores(row.cores, name) for name in ("broker", "directory", "clients")),
                f"{row.machine:.0%}",
            ]
            for row in rows
        ),
    ]


def bundle_lines(rows: Sequence[BundleRow]) -> Lines:
    """Return the table of bundles, its heading first."""
    heading = [
        *("database", "users", "replicas", "bundles/s", "one at a time p50 / p99, ms"),
        *("cores: directory", "database", "broker", "load", "machine busy"),
    ]
    return [
        heading,
        *(
            [
                DATABASES[row.database],
                f"{row.users:,}",
                str(row.replicas),
                _number(row.rate),
                f"{row.p50:.2f} / {row.p99:.2f}",
                *(_cores(row.cores, name) for name in ("directory", "database", "broker", "load")),
                f"{row.machine:.0%}",
            ]
            for row in sorted(rows, key=lambda row: (row.database, row.users, row.replicas))
        ),
    ]


def p99_ratios(rows: Sequence[BundleRow]) -> list[tuple[str, int, float]]:
    """Return database, replicas, and the p99 with the most users to that with the fewest."""
    found = {(row.database, row.replicas, row.users): row.p99 for row in rows}
    users = sorted({row.users for row in rows})
    return [
        (kind, replicas, found[kind, replicas, users[-1]] / p99)
        for (kind, replicas, count), p99 in found.items()
        if len(users) > 1 and count == users[0] and (kind, replicas, users[-1]) in found
    ]


def verdicts(rows: Sequence[BundleRow]) -> list[str]:
    """Return a sentence for each ratio."""
    return [
        f"{'met' if ratio <= P99_AIM else 'NOT MET'}: {DATABASES[kind]}, replicas {replicas}:"
        f" p99 with the most users to that with the fewest: {ratio:.2f} (at most {P99_AIM})"
        for kind, replicas, ratio in p99_ratios(rows)
    ]


def show(lines: Lines, *, markdown: bool) -> None:
    """Print a table."""
    if markdown:
        heading, *rest = (f"| {' | '.join(line)} |" for line in lines)
        print("\n".join([heading, f"| --- |{' ---: |' * (len(lines[0]) - 1)}", *rest]))
        return
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for first, *others in lines:
        cells = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
        print("  ".join((first.ljust(widths[0]), *cells)))


def _cores(cores: dict[str, float], name: str) -> str:
    together = "broker + directory"
    if name == "directory" and together in cores:
        return f"{cores[together]:.2f} (both)"
    return f"{cores[name]:.2f}" if name in cores else "–"


def _number(value: float) -> str:
    return f"{value:,.{0 if value >= 100 else 1}f}"
