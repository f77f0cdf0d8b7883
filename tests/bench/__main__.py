"""``python -m tests.bench``: measure, print the table, write bench.json."""

import argparse
import asyncio
import tempfile
from dataclasses import asdict
from pathlib import Path

from client_sdk.transport import mqtt
from tests.bench.counts import FULL, TINY, Counts
from tests.bench.ratchet import measure_ratchet
from tests.bench.report import as_json, show, write_json
from tests.bench.rows import Row
from tests.bench.sizes import measure_sizes
from tests.bench.store import measure_store
from tests.bench.travel import measure_travel


async def measure(counts: Counts, qos: int, *, in_memory: bool) -> list[Row]:
    """Return all rows; takes one to two minutes with the full counts."""
    mqtt.SUBSCRIBE_QOS = qos  # type: ignore[misc]
    rows = measure_ratchet(counts) + measure_sizes(counts)
    if in_memory:
        return rows
    with tempfile.TemporaryDirectory(prefix="ratchetmq-bench-") as name:
        rows += await measure_store(counts, Path(name))
        rows += await measure_travel(counts, Path(name), qos)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="run every path; figures mean nothing")
    parser.add_argument(
        "--in-memory", action="store_true", help="only handshake, ratchet and sizes"
    )
    parser.add_argument("--markdown", action="store_true", help="the table as in docs")
    parser.add_argument("--output", type=Path, default=Path("bench.json"))
    parser.add_argument(
        "--subscribe-qos", type=int, choices=(0, 1), default=0, help="of all subscriptions"
    )
    chosen = parser.parse_args()
    counts = TINY if chosen.tiny else FULL
    rows = asyncio.run(measure(counts, chosen.subscribe_qos, in_memory=chosen.in_memory))
    settings = {**asdict(counts), "subscribe_qos": chosen.subscribe_qos, "text_bytes": 64}
    write_json(chosen.output, as_json(rows, settings))
    show(rows, markdown=chosen.markdown)
    print(f"written to {chosen.output.name}")


if __name__ == "__main__":
    main()
