"""The scratch folder: the others are installed into it and run in it, and nowhere else."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

SCRIPTS: Final = Path(__file__).parent
INSTALL_SECONDS: Final = 600
MEASURE_SECONDS: Final = 600

LIBSIGNAL: Final = "@signalapp/libsignal-client"
SYNDACE: Final = ("doubleratchet", "x3dh")
VODOZEMAC: Final = ("vodozemac",)


class UnavailableError(Exception):
    """It cannot be installed or run here; the text says why."""


@dataclass(frozen=True, slots=True)
class Measurer:
    """One implementation, ready to be run.

    Attributes:
        name: The heading of its column.
        command: Prints one line of JSON; the counts are added as arguments.
        folder: Where it runs.
    """

    name: str
    command: tuple[str, ...]
    folder: Path

    def run(self, counts: tuple[int, int, int]) -> dict[str, Any]:
        """Return what one run printed."""
        arguments = [*self.command, *map(str, counts)]
        printed = _run(arguments, self.folder, MEASURE_SECONDS)
        result: dict[str, Any] = json.loads(printed.splitlines()[-1])
        return result


def ours() -> Measurer:
    """Return this project, run by the interpreter that runs this."""
    root = SCRIPTS.parents[2]
    return Measurer("RatchetMQ", (sys.executable, "-m", "tests.bench.peers.ours"), root)


def with_pip(name: str, packages: tuple[str, ...], script: str, scratch: Path) -> Measurer:
    """Return a Python implementation, installed into an environment of its own."""
    folder = scratch / packages[0]
    python = folder / "bin" / "python"
    _run([sys.executable, "-m", "venv", "--clear", str(folder)], scratch, INSTALL_SECONDS)
    install = ["-m", "pip", "--no-input", "-q", "install", *packages]
    _run([str(python), *install], folder, INSTALL_SECONDS)
    return Measurer(name, (str(python), str(SCRIPTS / script)), folder)


def with_npm(name: str, package: str, script: str, scratch: Path) -> Measurer:
    """Return a Node implementation, installed into a folder of its own."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise UnavailableError(f"{program} is not on this machine")
    folder = scratch / "node"
    folder.mkdir(exist_ok=True)
    (folder / "package.json").write_text('{"private": true}\n')
    _run(["npm", "install", "--no-save", "--silent", package], folder, INSTALL_SECONDS)
    shutil.copy(SCRIPTS / script, folder)  # an import is looked up beside the script
    return Measurer(name, ("node", script), folder)


def _run(command: list[str], folder: Path, seconds: int) -> str:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=seconds, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"{Path(command[0]).name}: {type(error).__name__}") from None
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        raise UnavailableError(f"{Path(command[0]).name} {command[1]}: {last[:300]}")
    return done.stdout
