"""``python -m tests.bench.brokers``: ours, amqtt, Mosquitto and NATS side by side, in turns."""

import argparse
import asyncio
import json
import resource
import signal
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.bench.brokers import nats
from tests.bench.brokers.brokers import TITLES, why_missing
from tests.bench.brokers.clients import CLIENTS
from tests.bench.brokers.counts import FULL, TINY
from tests.bench.brokers.disk import measure_disk
from tests.bench.brokers.field import Run
from tests.bench.brokers.loads import PAYLOAD_BYTES
from tests.bench.brokers.sheet import Sheet
from tests.bench.brokers.stages import STAGES
from tests.bench.brokers.table import as_json, show
from tests.bench.brokers.targets import targets_of


async def measure(run: Run, stages: list[str]) -> None:
    """Run the stages; Ctrl-C, SIGTERM and the end of the time leave what was measured so far."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        async with asyncio.timeout(run.counts.run_seconds):
            for stage in stages:
                measure_disk(run.sheet, run.scratch)
                await STAGES[stage](run)
    except TimeoutError:
        run.sheet.note("the run", f"cut after {run.counts.run_seconds:.0f} s")
    except asyncio.CancelledError:
        run.sheet.note("the run", "ended by a signal")


def main() -> None:
    """Measure, print the table, write the file."""
    chosen = _parser().parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    counts = TINY if chosen.tiny else FULL
    names = chosen.brokers or (["ours", "amqtt"] if chosen.tiny else list(TITLES))
    with tempfile.TemporaryDirectory(prefix="ratchetmq-brokers-") as scratch:
        sheet = Sheet(chosen.row)
        run = Run(counts, sheet, [], Path(scratch), client=chosen.client, qos=chosen.subscribe_qos)
        _choose(run, names, chosen.keep)
        asyncio.run(measure(run, chosen.stages or list(STAGES)))
    targets = targets_of(sheet, counts.crowds)
    settings = {
        **asdict(counts),
        "subscribe_qos": chosen.subscribe_qos,
        "client": chosen.client,
        "payload_bytes": PAYLOAD_BYTES,
    }
    facts = as_json(sheet, targets, settings)
    chosen.output.write_text(json.dumps(facts, indent=2) + "\n")
    show(sheet, targets, markdown=chosen.markdown)
    print(f"written to {chosen.output.name}")


def _choose(run: Run, names: list[str], keep: Path | None) -> None:
    """Install what has to be, and name what is missing."""
    reason = ""
    if any(name.startswith("nats") for name in names):
        print("installing nats-server into a scratch folder", flush=True)
        run.nats_server, reason = nats.install((keep or run.scratch / "programs").resolve())
    for name in names:
        missing = why_missing(name, run.nats_server)
        if missing is None:
            run.names.append(name)
        else:
            run.sheet.missing[name] = f"{missing}{': ' if reason else ''}{reason}"
            print(f"left out: {TITLES[name]}: {run.sheet.missing[name]}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.brokers", description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="run every path; figures mean nothing")
    parser.add_argument(
        "--broker", dest="brokers", action="append", choices=TITLES, help="only it; may be repeated"
    )
    parser.add_argument(
        "--stage", dest="stages", action="append", choices=STAGES, help="only it; may be repeated"
    )
    parser.add_argument("--row", default="", help="only rows whose key holds it: mail.w20, ping, …")
    parser.add_argument("--client", choices=CLIENTS, default="raw", help="of sender and receiver")
    parser.add_argument("--subscribe-qos", type=int, choices=(0, 1), default=1)
    parser.add_argument("--keep", type=Path, help="a folder for nats-server, used again next time")
    parser.add_argument("--markdown", action="store_true", help="the table as in docs")
    parser.add_argument("--output", type=Path, default=Path("bench-brokers.json"))
    return parser


if __name__ == "__main__":
    main()
