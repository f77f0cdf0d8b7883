"""``python -m tests.bench.peers``: ours and three others side by side, measured in one run."""

import argparse
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from tests.bench.peers.scratch import (
    LIBSIGNAL,
    SYNDACE,
    VODOZEMAC,
    Measurer,
    UnavailableError,
    ours,
    with_npm,
    with_pip,
)
from tests.bench.peers.table import summed_up

FULL: Final = (1000, 60, 1000)
TINY: Final = (20, 2, 10)
"""Operations, handshakes and messages of the late chain in one round."""

Install = Callable[[Path], Measurer]
OTHERS: Final[dict[str, Install]] = {
    "libsignal (Node)": partial(with_npm, "libsignal (Node)", LIBSIGNAL, "others_libsignal.mjs"),
    "doubleratchet + x3dh (Python)": partial(
        with_pip, "doubleratchet + x3dh (Python)", SYNDACE, "others_syndace.py"
    ),
    "vodozemac (Rust)": partial(with_pip, "vodozemac (Rust)", VODOZEMAC, "others_vodozemac.py"),
}


def installed(scratch: Path) -> tuple[list[Measurer], dict[str, str]]:
    """Return those that are here, and why each of the others is not."""
    found, missing = [ours()], {}
    for name, install in OTHERS.items():
        print(f"installing {name} into {scratch}", flush=True)
        try:
            found.append(install(scratch))
        except UnavailableError as error:
            missing[name] = str(error)
            print(f"not installed, its column is left out: {name}: {error}", flush=True)
    return found, missing


def measured(
    found: list[Measurer], missing: dict[str, str], counts: tuple[int, int, int], rounds: int
) -> dict[str, list[dict[str, Any]]]:
    """Return what each printed in each round; they take turns, so that a busy minute hits all."""
    results: dict[str, list[dict[str, Any]]] = {one.name: [] for one in found}
    for number in range(1, rounds + 1):
        for one in found:
            if one.name in missing:
                continue
            print(f"round {number} of {rounds}: {one.name}", flush=True)
            try:
                results[one.name].append(one.run(counts))
            except UnavailableError as error:
                missing[one.name] = str(error)
                print(f"does not run, its column is left out: {one.name}: {error}", flush=True)
    return {name: runs for name, runs in results.items() if runs and name not in missing}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.peers", description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="run every path; figures mean nothing")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="an empty or new scratch folder, and keep it")
    chosen = parser.parse_args()
    if chosen.keep is None:
        scratch = Path(tempfile.mkdtemp(prefix="ratchetmq-peers-"))
    else:
        scratch = chosen.keep.resolve()
        scratch.mkdir(parents=True, exist_ok=True)
    try:
        found, missing = installed(scratch)
        results = measured(found, missing, TINY if chosen.tiny else FULL, chosen.rounds)
    finally:
        if chosen.keep is None:
            shutil.rmtree(scratch, ignore_errors=True)
    print(summed_up(results, missing))


if __name__ == "__main__":
    main()
