"""What was measured: samples by row and broker, and what has to be said about them."""

from dataclasses import dataclass, field
from statistics import median

from tests.bench.brokers.brokers import TITLES
from tests.bench.rows import Row, quartiles


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table: its stable key, its words, its unit."""

    key: str
    title: str
    unit: str


@dataclass(slots=True)
class Sheet:
    """Samples that come in as the brokers take their turns.

    Attributes:
        wanted: Only rows whose key holds this text are measured.
    """

    wanted: str = ""
    lines: dict[str, Line] = field(default_factory=dict)
    samples: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)

    def wants(self, key: str) -> bool:
        """Tell whether a row is to be measured."""
        return self.wanted in key

    def add(self, line: Line, broker: str, value: float) -> None:
        """Take one sample."""
        self.lines.setdefault(line.key, line)
        self.samples.setdefault((line.key, broker), []).append(value)

    def note(self, broker: str, text: str) -> None:
        """Say something about a broker once, here and below the table."""
        told = f"{TITLES.get(broker, broker)}: {text}"
        if told not in self.notes:
            self.notes.append(told)
            print(f"  {told}", flush=True)

    def value(self, key: str, broker: str) -> float | None:
        """Return the median of a row, None where there is none."""
        taken = self.samples.get((key, broker))
        return median(taken) if taken else None

    def brokers(self) -> list[str]:
        """Return the brokers that have any figure, in the order of the table."""
        seen = {broker for _, broker in self.samples}
        return [name for name in TITLES if name in seen]

    def rows(self) -> list[Row]:
        """Return one row for each line and broker; its key begins with the broker's name."""
        found = []
        for (key, broker), taken in self.samples.items():
            line, (low, high) = self.lines[key], quartiles(taken)
            title = f"{line.title}: {TITLES.get(broker, broker)}"
            median_of = median(taken)
            found.append(Row(f"{broker}.{key}", title, line.unit, median_of, low, high, len(taken)))
        return found
