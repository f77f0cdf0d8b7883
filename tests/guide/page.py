"""The command blocks of docs/operations.md, each with its heading and its machines."""

import re
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
NOT_RUN = "; not run by the tests: "
"""In the first line of a block that needs root and the network."""

EVERY_MACHINE = ("mq1", "mq2", "mq3")
_ON = re.compile(r"# on ([\w, ]+)$")


@dataclass(frozen=True)
class Block:
    """What a reader types at once.

    Attributes:
        line: Of the page, counted from 1.
        heading: The heading that it stands under.
        machines: Where it is typed, one after the other; empty where the tests do not run it.
        text: All of it.
    """

    line: int
    heading: str
    machines: tuple[str, ...]
    text: str


def blocks() -> list[Block]:
    """Return every block of shell commands in order."""
    found, heading, inside, text, start = [], "", False, "", 0
    for number, line in enumerate(PAGE.read_text().splitlines(), 1):
        if inside and line == "```":
            found.append(Block(start, heading, _machines(text), text))
            inside = False
        elif inside:
            text += f"{line}\n"
        elif line == "```sh":
            inside, text, start = True, "", number + 1
        elif line.startswith("#"):
            heading = line.lstrip("# ")
    return found


def _machines(text: str) -> tuple[str, ...]:
    first = text.splitlines()[0]
    if NOT_RUN in first:
        return ()
    named = _ON.match(first)
    assert named is not None, f"the block does not say on which machine it is typed: {first}"
    if named[1] == "every machine":
        return EVERY_MACHINE
    return tuple(re.split(", | and ", named[1]))
