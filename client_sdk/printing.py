"""How commands speak: JSON for programs, lines for people, errors on stderr."""

import json
import os
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import typer

from client_sdk.stores.errors import PassphraseNeededError
from client_sdk.wire.errors import MessagingError, MisuseError, OperationalError

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_TIMED_OUT: Final = 3

PASSPHRASE_VARIABLE: Final = "RATCHETMQ_PASSPHRASE"  # noqa: S105 - the name, not the value
PASSPHRASE_HINT: Final = f": give --passphrase-file FILE or set {PASSPHRASE_VARIABLE}"

PRIVATE_MODE: Final = 0o600
PUBLIC_MODE: Final = 0o644

CONTINUATION: Final = "\n    | "
"""How a message's further lines begin for a person: no line of another sender looks so."""

_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_KEPT: Final = frozenset("\n\t\u200c\u200d")  # joiners are part of words and emoji


class OutputFailedError(OperationalError):
    """A result could not be written; the command ends."""

    code = "output_failed"


def open_stdin() -> int:
    """Return the descriptor of stdin.

    Raises:
        MisuseError: This process was started without one.
    """
    if sys.stdin is None:
        raise MisuseError("stdin is closed; nothing was read and nothing was changed")
    return sys.stdin.fileno()


class Output:
    """One command's way of writing to stdout."""

    def __init__(self, *, json_lines: bool) -> None:
        """Write JSON where it was asked for, or where no person reads along."""
        self._json = json_lines or sys.stdout is None or not sys.stdout.isatty()

    def say(self, fields: dict[str, object], line: str) -> None:
        """Write one result: ``fields`` as one JSON object a line, or ``line`` for a person.

        Raises:
            OutputFailedError: The disk is full, or there is no stdout.
        """
        text = json.dumps(fields, ensure_ascii=False) if self._json else _shown(fields, line)
        if sys.stdout is None:
            raise OutputFailedError("stdout is closed; what was not shown counts as not received")
        # Unbuffered: a line is out when this returns, and none is left to fail at the exit.
        left = memoryview(text.encode() + b"\n")
        try:
            while left:
                left = left[os.write(sys.stdout.fileno(), left) :]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputFailedError(
                f"cannot write to stdout: {error.strerror}; what was not shown counts as not "
                "received"
            ) from error


def _shown(fields: dict[str, object], line: str) -> str:
    """Return ``line`` for a terminal; what a sender wrote never starts a line of its own."""
    text = fields.get("text")
    if isinstance(text, str):
        line = line.replace(text, text.replace("\n", CONTINUATION))
    return printable(line)


def printable(text: str) -> str:
    """Return ``text`` for a terminal: control and direction characters show as U+FFFD."""
    return "".join(
        "\ufffd" if unicodedata.category(one) in _HIDDEN and one not in _KEPT else one
        for one in text
    )


def warn(text: str) -> None:
    """Say something on stderr that does not end the command."""
    typer.echo(f"ratchetmq: {printable(text)}", err=True)


@contextmanager
def reported_errors(interrupted: str | Callable[[], str] = "") -> Iterator[None]:
    """Turn errors into one line on stderr and exit code 1, or 2 for wrong usage.

    Args:
        interrupted: What Ctrl-C leaves and what to do then; asked for only if it comes.
    """
    try:
        yield
    except MessagingError as error:
        hint = PASSPHRASE_HINT if isinstance(error, PassphraseNeededError) else ""
        warn(f"{error}{hint}")
        raise typer.Exit(EXIT_USAGE if isinstance(error, MisuseError) else EXIT_FAILED) from None
    except KeyboardInterrupt:
        text = interrupted if isinstance(interrupted, str) else interrupted()
        if text:
            warn(text)
        raise typer.Exit(EXIT_FAILED) from None


@contextmanager
def new_private_file(file: Path) -> Iterator[IO[str]]:
    """Yield a new file that nobody else may read; an error inside leaves none.

    Raises:
        MisuseError: It exists or cannot be made; nothing was changed.
        OutputFailedError: It cannot be written; none was left.
    """
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_MODE)
    except FileExistsError:
        raise MisuseError(f"{file} exists; nothing was changed; name another file") from None
    except OSError as error:
        raise MisuseError(
            f"cannot write {file}: {error.strerror}; nothing was changed; choose another place"
        ) from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            yield opened
            opened.flush()
            os.fsync(descriptor)
    except BaseException as error:
        file.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OutputFailedError(
                f"cannot write {file}: {error.strerror}; none was left; try again"
            ) from error
        raise


def write_private(file: Path, text: str) -> None:
    """Write a file that nobody else may read, in place of one that is there.

    Raises:
        MisuseError: It cannot be written; what was there may be gone.
    """
    _write(file, text, PRIVATE_MODE)


def write_public(file: Path, text: str) -> None:
    """Write a file that everybody may read; raises as ``write_private``."""
    _write(file, text, PUBLIC_MODE)


def _write(file: Path, text: str, mode: int) -> None:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            os.fchmod(descriptor, mode)
            opened.write(text)
    except OSError as error:
        raise MisuseError(f"cannot write {file}: {error.strerror}; choose another place") from error
