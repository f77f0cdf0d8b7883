"""Real processes with their lines, ended by their handle."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Self, cast

PATIENCE_SECONDS = 30.0
PASSPHRASE_VARIABLE = "RATCHETMQ_PASSPHRASE"

Fields = dict[str, object]


class SilentError(AssertionError):
    """A process said nothing in time, or ended first."""


def ratchetmq(*arguments: str) -> list[str]:
    """Return the command line of the program with these arguments."""
    return [sys.executable, "-m", "broker.cli", *arguments]


@dataclass(frozen=True)
class Result:
    """How one command ended."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[Fields]:
        """Its stdout, one JSON object a line."""
        return [cast("Fields", json.loads(line)) for line in self.out.split("\n") if line]

    @property
    def row(self) -> Fields:
        """Its stdout, where that is one object."""
        (row,) = self.rows
        return row


class Program:
    """One running process; leave its context and it is gone."""

    def __init__(
        self, command: Sequence[str], *, passphrase: str | None = None, new_group: bool = False
    ) -> None:
        environment = {**os.environ, "TERM": "dumb", "COLUMNS": "200"}
        environment.pop(PASSPHRASE_VARIABLE, None)
        if passphrase is not None:
            environment[PASSPHRASE_VARIABLE] = passphrase
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=new_group,
        )
        self.printed: list[bytes] = []
        self._errors: list[bytes] = []
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self._readers = (
            threading.Thread(target=self._read_lines, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        )
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def errors(self) -> str:
        return b"".join(self._errors).decode()

    def write(self, data: bytes) -> bool:
        """Write to its stdin; False where it has ended."""
        try:
            self._stdin.write(data)
            self._stdin.flush()
        except (BrokenPipeError, ValueError):
            return False
        return True

    def end_input(self) -> None:
        with suppress(BrokenPipeError):
            self._stdin.close()

    def line(self, seconds: float = PATIENCE_SECONDS) -> bytes | None:
        """Return its next line of stdout, or None at its end."""
        try:
            return self._lines.get(timeout=seconds)
        except queue.Empty:
            raise SilentError(f"no line within {seconds} s; stderr: {self.errors}") from None

    def row(self, seconds: float = PATIENCE_SECONDS) -> Fields:
        """Return its next line as an object."""
        line = self.line(seconds)
        if line is None:
            raise SilentError(f"it ended; stderr: {self.errors}")
        return cast("Fields", json.loads(line))

    def says_nothing(self, seconds: float) -> bool:
        try:
            return self._lines.get(timeout=seconds) is None
        except queue.Empty:
            return True

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, seconds: float = PATIENCE_SECONDS) -> Result:
        """Return how it ended.

        Raises:
            TimeoutError: It still runs after so many seconds.
        """
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"still running after {seconds} s: {self.errors}") from error
        self._close()
        return Result(code, b"".join(self.printed).decode(), self.errors)

    def end(self, number: signal.Signals = signal.SIGTERM) -> Result:
        """Signal it and wait for its end."""
        if self.running:
            self.send_signal(number)
        return self.wait()

    def kill(self) -> Result:
        """End it as a crash or power loss would."""
        return self.end(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    def _close(self) -> None:
        for reader in self._readers:
            reader.join(PATIENCE_SECONDS)
        self.end_input()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    def _read_lines(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith(b"\n"):
                self.printed.append(line)
                self._lines.put(line)
        self._lines.put(None)

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._errors.append(line)


def run(
    *arguments: str,
    stdin: bytes = b"",
    passphrase: str | None = None,
    seconds: float = PATIENCE_SECONDS,
) -> Result:
    """Run one command of ``ratchetmq`` to its end."""
    return run_command(ratchetmq(*arguments), stdin=stdin, passphrase=passphrase, seconds=seconds)


def run_command(
    command: Sequence[str],
    *,
    stdin: bytes = b"",
    passphrase: str | None = None,
    seconds: float = PATIENCE_SECONDS,
) -> Result:
    """Run any command to its end."""
    with Program(command, passphrase=passphrase) as program:
        program.write(stdin)
        program.end_input()
        return program.wait(seconds)
