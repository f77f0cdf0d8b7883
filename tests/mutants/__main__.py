"""``make mutants``: does a test fail for every small change of the core?

mutmut changes the code of ``client_sdk/core`` one place at a time, in a copy under ``mutants/``,
and runs the tests that reach it. A mutant that hangs counts as killed. Every survivor stands with
its reason in ``known.toml``. Ends with 1 below ``MIN_SCORE``, above ``MAX_SURVIVORS``, or where a
survivor is not known.

A second run decides only what is new: functions that were changed since. ``--again`` also tries
those once more that survived, after tests were added.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

MIN_SCORE = 90.0
"""Percent of all mutants."""

MAX_SURVIVORS = 20

FOLDER = Path("mutants")
KNOWN = Path(__file__).with_name("known.toml")
SURVIVED = {0, 5, 33, 34, 35}
"""Exit codes of mutmut's workers: passed, no test, skipped, suspicious."""

OUT_OF_TIME = {-24, 24, 36, 152, 255}
"""Counted as killed, and told: on a busy machine a survivor can be among them."""

UNDECIDED = {None, 2}
"""Not run, interrupted; every other code is a test that failed or ran out of its time."""


class Change(NamedTuple):
    """One mutant, told without its number, which moves with the code around it."""

    function: str
    was: str
    becomes: str


def run(children: int, mutants: Sequence[str] = ()) -> bool:
    """Run these, or what is not decided yet; tell whether mutmut came to its end."""
    ended = subprocess.run(
        [sys.executable, "-m", "mutmut", "run", "--max-children", str(children), *mutants],
        env={**os.environ, "CI": "1"},
        check=False,
    )
    return ended.returncode == 0


def outcomes() -> dict[str, int | None]:
    """Return each mutant's exit code; None where it was not run."""
    found: dict[str, int | None] = {}
    for meta in sorted(FOLDER.rglob("*.meta")):
        found.update(json.loads(meta.read_text())["exit_code_by_key"])
    return found


def doubtful(found: dict[str, int | None]) -> list[str]:
    """Return the mutants to run once more: that survived, or ran out of time on a busy machine."""
    return [name for name, code in found.items() if code in SURVIVED | OUT_OF_TIME]


def change_of(mutant: str) -> Change:
    """Return what one mutant changes, from mutmut's own diff."""
    shown = subprocess.run(
        [sys.executable, "-m", "mutmut", "show", mutant],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    lines = [line for line in shown.splitlines() if not line.startswith(("---", "+++"))]
    was, becomes = (
        " ".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+"
    )
    function = re.sub(r"__mutmut_\d+$", "", mutant).removeprefix("client_sdk.core.")
    return Change(function.replace("x_", "", 1).replace("xǁ", "").replace("ǁ", "."), was, becomes)


def known() -> dict[Change, str]:
    entries = tomllib.loads(KNOWN.read_text()).get("survivor", [])
    return {Change(one["function"], one["was"], one["becomes"]): one["reason"] for one in entries}


def report(found: dict[str, int | None]) -> bool:
    """Print the score and every survivor; tell whether all is as it has to be."""
    survivors = [name for name, code in found.items() if code in SURVIVED]
    undecided = sum(code in UNDECIDED for code in found.values())
    hung = sum(code in OUT_OF_TIME for code in found.values())
    score = 100 * (1 - len(survivors) / max(len(found) - undecided, 1))
    reasons, unknown = known(), 0
    for change in map(change_of, survivors):
        reason = reasons.get(change)
        unknown += reason is None
        print(f"survived: {change.function}\n  - {change.was}\n  + {change.becomes}")
        print(f"  {reason or 'NOT KNOWN: write a test, or its reason into ' + KNOWN.name}")
    print(f"{len(found)} mutants, {len(survivors)} survived, {hung} ran out of time, ", end="")
    print(f"{undecided} not run: {score:.1f} % killed")
    within = score >= MIN_SCORE and len(survivors) <= MAX_SURVIVORS
    return within and not unknown and not undecided


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--fresh", action="store_true", help="forget what was run before")
    parser.add_argument("--again", action="store_true", help="run survivors once more, too")
    parser.add_argument("--report", action="store_true", help="only tell what the last run found")
    parser.add_argument("--children", type=int, default=os.cpu_count(), help="processes at a time")
    wanted = parser.parse_args()
    if wanted.fresh:
        shutil.rmtree(FOLDER, ignore_errors=True)
    if not wanted.report and not run(wanted.children):
        return 1
    again = doubtful(outcomes()) if wanted.again and not wanted.report else []
    if again and not run(wanted.children, again):
        return 1
    return 0 if report(outcomes()) else 1


if __name__ == "__main__":
    sys.exit(main())
