"""Processor time of the parts of a run and of the whole machine, from /proc."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

TICKS: Final = os.sysconf("SC_CLK_TCK")
_IDLE: Final = (3, 4)
"""The fields of /proc/stat that are no work: idle, and waiting for a disk."""

Seconds = Callable[[], float]
"""What a part has used since it began."""


class Meter:
    """What each part used of the processors while the context was open.

    Attributes:
        cores: By part, in cores: 1.0 is one core all the time.
        machine: The share of all cores that was busy, from 0 to 1, whoever used it.
    """

    def __init__(self, parts: Mapping[str, Seconds]) -> None:
        """Take the parts by their names."""
        self._parts = parts
        self.cores: dict[str, float] = {}
        self.machine = 0.0

    def __enter__(self) -> Self:
        self._before = {name: used() for name, used in self._parts.items()}
        self._machine_before = _machine()
        self._began = time.monotonic()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        seconds = time.monotonic() - self._began
        busy, total = (
            after - before for after, before in zip(_machine(), self._machine_before, strict=True)
        )
        self.machine = busy / total if total else 0.0
        self.cores = {
            name: (used() - self._before[name]) / seconds for name, used in self._parts.items()
        }


def alone(*pids: int) -> Seconds:
    """Return the clock of these processes without their children."""
    return lambda: sum(_seconds(pid) for pid in pids)


def whole(pid: int) -> Seconds:
    """Return the clock of a process and its descendants that live."""
    return lambda: sum(_seconds(one) for one in _tree(pid))


def children_of(pid: int) -> list[int]:
    """Return the children of a process; none where it has ended."""
    try:
        found = [one.read_text() for one in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return []
    return [int(child) for children in found for child in children.split()]


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for child in children_of(pid):
        yield from _tree(child)


def _seconds(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    return (int(fields[11]) + int(fields[12])) / TICKS


def _machine() -> tuple[int, int]:
    line = Path("/proc/stat").read_text().split("\n", 1)[0]
    fields = [int(field) for field in line.split()[1:9]]
    return sum(fields) - sum(fields[number] for number in _IDLE), sum(fields)
