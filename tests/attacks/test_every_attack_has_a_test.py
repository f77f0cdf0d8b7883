"""The attacks that this version answers, by their ids: each has a test named after it.

The tests lie beside what they test; those that take whole devices lie in this folder. What each of
them shows is said in docs/threat_model.md.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ANSWERED = [*range(1, 27), *range(30, 46), 47, 49, 51, 52, 53]
"""A27 to A29 are of groups, which there are none of."""


def named_tests() -> dict[int, list[str]]:
    """Return the tests of each attack, as path and name."""
    found: dict[int, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for name in re.findall(r"def (test_a\d+_\w+)\(", path.read_text()):
            for number in re.findall(r"(?:(?<=_)|^)a(\d+)(?=_)", name.removeprefix("test_")):
                found.setdefault(int(number), []).append(f"{path.relative_to(ROOT)}::{name}")
    return found


@pytest.mark.parametrize("attack", ANSWERED)
def test_an_attack_has_a_test_named_by_its_id(attack: int) -> None:
    assert named_tests().get(attack), f"A{attack}"
