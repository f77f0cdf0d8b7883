"""The table for people and the JSON file for programs."""

from dataclasses import asdict
from typing import Any

from tests.bench.brokers.brokers import TITLES
from tests.bench.brokers.sheet import Line, Sheet
from tests.bench.brokers.targets import Target, told
from tests.bench.machine import machine_facts
from tests.bench.report import row_fields


def as_json(sheet: Sheet, targets: list[Target], settings: dict[str, object]) -> dict[str, Any]:
    """Return what the file holds; its rows are those of bench.json, by broker and key."""
    return {
        "machine": machine_facts(),
        "settings": settings,
        "rows": {row.key: row_fields(row) for row in sheet.rows()},
        "targets": [asdict(one) for one in targets],
        "missing": sheet.missing,
        "notes": sheet.notes,
    }


def show(sheet: Sheet, targets: list[Target], *, markdown: bool) -> None:
    """Print the medians, a column for each broker, then the targets and what is to be said."""
    brokers = sheet.brokers()
    heading = ["median of the turns", *(TITLES[name] for name in brokers)]
    lines = [
        [_title(line), *(_cell(sheet, line, name) for name in brokers)]
        for line in sheet.lines.values()
        if not line.key.endswith(".p99") and any(sheet.value(line.key, name) for name in brokers)
    ]
    if markdown:
        print(f"| {' | '.join(heading)} |\n| --- |{' ---: |' * len(brokers)}")
        for line in lines:
            print(f"| {' | '.join(line)} |")
    else:
        _print_plain([heading, *lines])
    print()
    sync = [sheet.value(f"sync.{share}", "disk") or 0.0 for share in ("p50", "p99")]
    print(f"one fdatasync of 4 KiB on this disk: p50 / p99 {sync[0]:.2f} / {sync[1]:.2f} ms")
    for target in targets:
        print(f"- {told(target).strip()}" if markdown else told(target))
    for name, reason in sheet.missing.items():
        print(f"{'- ' if markdown else ''}left out: {TITLES[name]}: {reason}")
    for note in sheet.notes:
        print(f"{'- ' if markdown else ''}{note}")


def _print_plain(lines: list[list[str]]) -> None:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        cells = (cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))
        print("  ".join((line[0].ljust(widths[0]), *cells)))


def _title(line: Line) -> str:
    if line.key.endswith(".p50"):
        return f"{line.title.removesuffix(', p50')}: p50 / p99, ms"
    return f"{line.title}, {line.unit}"


def _cell(sheet: Sheet, line: Line, broker: str) -> str:
    value = sheet.value(line.key, broker)
    if value is None:
        return "–"
    if not line.key.endswith(".p50"):
        return _number(value)
    high = sheet.value(f"{line.key.removesuffix('.p50')}.p99", broker)
    return f"{_number(value)} / {_number(high or 0.0)}"


def _number(value: float) -> str:
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}"
