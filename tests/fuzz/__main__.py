"""``make fuzz``: every decoder under atheris, one process each; what it finds is kept and printed.

Ends with 1 where a target raised what it does not document, failed an assertion, hung or did not
get through its inputs.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tests.fuzz.targets import TARGETS, run

INPUTS = 1_000_000
"""In total, shared out among the targets by their weights."""

SECONDS = 300
"""One target at most; what is not run by then is told."""

FINDINGS = Path(".fuzz")
ONE_INPUT_SECONDS = 10
MAX_INPUT_BYTES = 8192
MEMORY_MB = 2048
SHOWN_BYTES = 200


class Result(NamedTuple):
    name: str
    inputs: int
    seconds: float
    found: list[Path]
    log: str


def fuzz(name: str, count: int, seconds: int, seed: int) -> Result:
    """Run one target in a process of its own, beginning with its honest inputs."""
    slug = name.replace(" ", "-")
    begun = time.monotonic()
    before = set(FINDINGS.glob(f"{slug}-*"))
    with tempfile.TemporaryDirectory(prefix="ratchetmq-fuzz-") as corpus:
        for number, data in enumerate(TARGETS[name].seeds):
            Path(corpus, str(number)).write_bytes(data)
        limits = [f"-runs={count}", f"-max_total_time={seconds}", f"-timeout={ONE_INPUT_SECONDS}"]
        limits += [f"-max_len={MAX_INPUT_BYTES}", f"-rss_limit_mb={MEMORY_MB}", f"-seed={seed}"]
        places = [f"-artifact_prefix={FINDINGS}/{slug}-", "-print_final_stats=1", corpus]
        ended = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.child", name, *limits, *places],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    took = time.monotonic() - begun
    done = re.findall(r"(?:Done |number_of_executed_units: )(\d+)", ended.stdout)
    found = sorted(set(FINDINGS.glob(f"{slug}-*")) - before)
    failed = ended.returncode != 0 or bool(found)
    return Result(name, int(done[-1]) if done else 0, took, found, ended.stdout if failed else "")


def replay(name: str, path: Path) -> None:
    """Give a kept input to its target once more, so that its traceback is seen."""
    print("accepted" if run(TARGETS[name], path.read_bytes()) else "refused as documented")


def report(result: Result, wanted: int) -> bool:
    rate = result.inputs / max(result.seconds, 0.001)
    print(f"{result.name:28} {result.inputs:>8} inputs {result.seconds:>6.1f} s {rate:>7.0f}/s")
    for path in result.found:
        data = path.read_bytes()
        print(f"  found: {path} ({len(data)} bytes) {data[:SHOWN_BYTES].hex()}")
    if result.log:
        print("  " + "\n  ".join(result.log.splitlines()[-30:]))
    if result.inputs < wanted and not result.log:
        print(f"  not all: {wanted} were wanted; call again with a longer --seconds")
    sys.stdout.flush()
    return not result.log and result.inputs >= wanted


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--target", choices=sorted(TARGETS), help="only this one")
    parser.add_argument("--count", type=int, default=INPUTS, help="inputs in total")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="at most, for one target")
    parser.add_argument("--seed", type=int, default=1, help="the same seed, the same inputs")
    parser.add_argument("--replay", type=Path, help="one kept input, for --target")
    wanted = parser.parse_args()
    if wanted.replay:
        if not wanted.target:
            parser.error("--replay needs --target")
        replay(wanted.target, wanted.replay)
        return 0
    names = [wanted.target] if wanted.target else list(TARGETS)
    whole = sum(TARGETS[name].weight for name in names)
    shares = {name: round(wanted.count * TARGETS[name].weight / whole) + 1 for name in names}
    FINDINGS.mkdir(exist_ok=True)
    print(f"{len(names)} targets, {sum(shares.values())} inputs, seed {wanted.seed}", flush=True)
    good, inputs = True, 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        calls = {
            name: pool.submit(fuzz, name, share, wanted.seconds, wanted.seed)
            for name, share in shares.items()
        }
        for name, call in calls.items():
            result = call.result()
            inputs += result.inputs
            good &= report(result, shares[name])
    print(f"{inputs} inputs in all; " + ("nothing found" if good else "see above"))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
