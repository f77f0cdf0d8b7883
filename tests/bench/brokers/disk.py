"""What one sync to the disk costs here: every durable figure stands on it."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.bench.brokers.sheet import Line, Sheet
from tests.bench.rows import NS_PER_MS, clocks, quantile

SYNCS: Final = 50
_PAGE: Final = 4096
_DISK: Final = "sync"


def measure_disk(sheet: Sheet, folder: Path) -> None:
    """Note the quantiles of one fdatasync after a page was appended, as a row of the disk."""
    folder.mkdir(parents=True, exist_ok=True)
    taken = sorted(_syncs(folder / f"sync-{time.monotonic_ns()}"))
    for share, value in (("p50", 0.5), ("p99", 0.99)):
        line = Line(f"{_DISK}.{share}", f"one fdatasync of 4 KiB, {share}", "ms")
        sheet.add(line, "disk", quantile(taken, value) / NS_PER_MS)


def _syncs(path: Path) -> Iterator[int]:
    page = os.urandom(_PAGE)
    with path.open("wb", buffering=0) as file:

        def append() -> None:
            file.write(page)
            os.fdatasync(file.fileno())

        yield from clocks(append, SYNCS)
