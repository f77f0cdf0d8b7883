"""The table for people and bench.json for programs."""

import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.machine import machine_facts
from tests.bench.rows import Row, times_raw

HEADINGS = ("what", "median", "middle half", "n", "times raw")


def row_fields(row: Row) -> dict[str, object]:
    """Return what every file of measurements holds of a row."""
    return {
        "title": row.title,
        "unit": row.unit,
        "value": round(row.value, 3),
        "low": round(row.low, 3),
        "high": round(row.high, 3),
        "n": row.n,
    }


def as_json(rows: list[Row], settings: dict[str, object]) -> dict[str, object]:
    """Return what bench.json holds."""
    known = {row.key: row for row in rows}
    return {
        "machine": machine_facts(),
        "settings": settings,
        "rows": {
            row.key: {
                **row_fields(row),
                "raw": row.raw,
                "times_raw": None if row.raw is None else round(times_raw(row, known[row.raw]), 2),
            }
            for row in rows
        },
    }


def write_json(path: Path, facts: dict[str, object]) -> None:
    """Write bench.json."""
    path.write_text(json.dumps(facts, indent=2) + "\n")


def show(rows: list[Row], *, markdown: bool = False) -> None:
    """Print the table: with colours on a terminal, plain text elsewhere, or as Markdown."""
    lines = [_line(row, {one.key: one for one in rows}) for row in rows]
    if markdown:
        for line in (HEADINGS, ("---", "---:", "---:", "---:", "---:"), *lines):
            print(f"| {' | '.join(line)} |")
        return
    if sys.stdout.isatty():
        table = Table(*HEADINGS[:1], title="RatchetMQ bench")
        for heading in HEADINGS[1:]:
            table.add_column(heading, justify="right")
        for line in lines:
            table.add_row(*line, style="dim" if line[0].startswith("raw:") else None)
        Console().print(table)
        return
    widths = [max(len(line[i]) for line in (HEADINGS, *lines)) for i in range(len(HEADINGS))]
    for line in (HEADINGS, *lines):
        cells = (cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))
        print("  ".join((line[0].ljust(widths[0]), *cells)))


def _line(row: Row, known: dict[str, Row]) -> tuple[str, ...]:
    ratio = ""
    if row.raw is not None:
        times = times_raw(row, known[row.raw])
        ratio = f"{times:,.{_digits(times)}f}"
    value, low, high = (f"{one:,.{_digits(one)}f}" for one in (row.value, row.low, row.high))
    return row.title, f"{value} {row.unit}", f"{low} – {high}", f"{row.n:,}", ratio


def _digits(value: float) -> int:
    return 0 if value >= 1000 else 1 if value >= 10 else 2
