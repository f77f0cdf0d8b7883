"""``python -m tests.bench.scale``: messages by clients, bundles by replicas and users."""

import argparse
import asyncio
import json
import resource
import signal
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from tests.bench.scale.counts import FULL, TINY, Counts
from tests.bench.scale.deployments import TITLES
from tests.bench.scale.directory import KINDS, BundleRow, measure_directory
from tests.bench.scale.plots import write_plots
from tests.bench.scale.table import as_json, bundle_lines, show, travel_lines, verdicts
from tests.bench.scale.travel import TravelRow, measure_travel

PARTS: Final = ("messages", "directory")
RUN_SECONDS: Final = 1500.0
"""A run that takes longer is cut; what was measured by then is shown."""


@dataclass
class Found:
    """What was measured so far."""

    travel: list[TravelRow] = field(default_factory=list)
    bundles: list[BundleRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


async def measure(counts: Counts, chosen: argparse.Namespace, keep: Path, found: Found) -> None:
    """Run the parts; Ctrl-C, SIGTERM and the end of the time leave what was measured so far."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        async with asyncio.timeout(RUN_SECONDS):
            if "messages" in chosen.part:
                await measure_travel(counts, chosen.broker, keep, found.travel, found.notes)
            if "directory" in chosen.part:
                await measure_directory(counts, chosen.database, keep, found.bundles, found.notes)
    except TimeoutError:
        found.notes.append(f"the run was cut after {RUN_SECONDS:.0f} s")
    except asyncio.CancelledError:
        found.notes.append("the run was ended by a signal")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables, write the file and the plots."""
    chosen = _parser().parse_args(arguments)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    counts = TINY if chosen.tiny else FULL
    counts = replace(
        counts,
        clients=tuple(chosen.clients or counts.clients),
        users=tuple(chosen.users or counts.users),
        replicas=chosen.replicas or counts.replicas,
        seconds=chosen.seconds or counts.seconds,
    )
    found, began = Found(), time.monotonic()
    with ExitStack() as stack:
        keep = chosen.keep
        if keep is None:
            scratch = tempfile.TemporaryDirectory(prefix="ratchetmq-scale-")
            keep = Path(stack.enter_context(scratch))
            keep.chmod(0o755)  # PostgreSQL runs as another user where this runs as root
        keep.mkdir(parents=True, exist_ok=True)
        asyncio.run(measure(counts, chosen, keep.absolute(), found))
    facts = as_json(counts, found.travel, found.bundles, found.notes)
    chosen.output.write_text(json.dumps(facts, indent=2) + "\n")
    for lines in (travel_lines(found.travel), bundle_lines(found.bundles)):
        if len(lines) > 1:
            print()
            show(lines, markdown=chosen.markdown)
    print()
    for told in (*verdicts(found.bundles), *found.notes):
        print(f"- {told}")
    files = [chosen.output]
    if chosen.plots is not None:
        files += write_plots(chosen.plots, found.travel, found.bundles)
    print(f"{time.monotonic() - began:.0f} s; written: {', '.join(map(str, files))}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scale", description=__doc__)
    add = parser.add_argument
    add("--tiny", action="store_true", help="run every path; figures mean nothing")
    add("--part", nargs="+", choices=PARTS, default=PARTS)
    add("--broker", nargs="+", choices=TITLES, default=list(TITLES))
    add("--clients", nargs="+", type=_even, help="default: 2 50 500")
    add("--seconds", type=float, help="of each of the two loads of messages; default: 10")
    add("--database", nargs="+", choices=KINDS, default=KINDS)
    add("--users", nargs="+", type=int, help="default: 1000 1000000; 5 GB for each million")
    add("--replicas", type=int, help="measure with 1 to so many; default: 3")
    add("--keep", type=Path, help="a folder for filled databases and devices, used again")
    add("--plots", type=Path, help="where the SVG files go, such as docs/plots")
    add("--markdown", action="store_true", help="the tables as in docs")
    add("--output", type=Path, default=Path("bench-scale.json"))
    return parser


def _even(text: str) -> int:
    count = int(text)
    if count < 2 or count % 2:
        raise argparse.ArgumentTypeError("clients write to each other in pairs")
    return count


if __name__ == "__main__":
    main()
