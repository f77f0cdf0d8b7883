"""kill -9 of the server, of `send` and of `listen` while texts travel both ways.

The long version: ``python -m tests.e2e.chaos --texts 600 --kills 60 --seed 7``. It is bounded by
its number of texts, its number of kills and ``--seconds``; the seed is printed.
"""

import argparse
import json
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.clinic import Clinic, User
from tests.e2e.ledger import Ledger, Printed, check
from tests.e2e.programs import Program, SilentError

VICTIMS = ("server", "send", "listen", "mail")
"""The last one: both listeners, and then the server as soon as it has mail for them."""

MAIL_SECONDS = 0.08
WINDOW = 8
"""Texts that a feeder writes before it waits for their lines."""

NOT_CONNECTED = "not connected, what is queued stays queued"
"""What `send` may say, and still queue, while the server is dead."""

TURN_SECONDS = 0.02
MEAN_DELAY_SECONDS = 0.15
"""Until a kill, from the moment that each feeder has begun a new share: most fall in between."""

FINAL_SECONDS = 90.0


@dataclass(frozen=True)
class Plan:
    """How much, how often, how long."""

    texts: int = 150
    kills: int = 12
    seconds: float = 150.0
    seed: int = 1
    victims: tuple[str, ...] = VICTIMS


@dataclass(frozen=True)
class Outcome:
    """What a run saw."""

    kills: Counter[str]
    repeats: int
    sent: int


class ChaosError(AssertionError):
    """A program of the system misbehaved, or time ran out."""


@dataclass
class Shared:
    """What the threads of one run share."""

    end: float
    lock: threading.Lock = field(default_factory=threading.Lock)
    stop: threading.Event = field(default_factory=threading.Event)
    problems: list[str] = field(default_factory=list)
    released: int = 0
    """Texts that each feeder may have queued by now, so that they last for all kills."""

    def check(self) -> None:
        if self.problems:
            raise ChaosError("; ".join(self.problems))
        if time.monotonic() > self.end:
            raise ChaosError("out of time")


class Feeder(threading.Thread):
    """Has `send --stdin` queue texts one by one, and starts it again when it was killed."""

    def __init__(self, user: User, to: User, ledger: Ledger, count: int, shared: Shared) -> None:
        super().__init__(daemon=True)
        self._user, self._to, self._ledger = user, to, ledger
        self._left = [f"{user.name} {number}" for number in range(count)]
        self._attempts = 0
        self._shared = shared
        self.program: Program | None = None

    @property
    def queued(self) -> int:
        return len(self._ledger.sent)

    def run(self) -> None:
        try:
            while self._left and not self._shared.stop.is_set():
                self._attempts += 1
                self._feed()
        except Exception as error:  # noqa: BLE001 - told to the main thread
            self._shared.problems.append(f"feeder of {self._user.name}: {error!r}")

    def _feed(self) -> None:
        program = self._user.start("send", self._to.name, "--stdin")
        with self._shared.lock:
            self.program = program
        with program:
            waiting: list[str] = []
            while self._left or waiting:
                self._shared.check()
                self._write(program, waiting)
                try:
                    line = program.line(TURN_SECONDS)
                except SilentError:
                    continue
                if line is None:
                    self._give_back(waiting)
                    ended = program.wait()
                    if ended.code != -9:
                        raise ChaosError(f"send ended with {ended.code}: {ended.err}")
                    return
                self._ledger.sent.append((sent_id(line), waiting.pop(0)))
            program.end_input()
            ended = program.wait()
            said = [line for line in ended.err.splitlines() if NOT_CONNECTED not in line]
            if ended.code not in {0, -9} or said:
                raise ChaosError(f"send ended with {ended.code}: {ended.err}")

    def _write(self, program: Program, waiting: list[str]) -> None:
        while (
            self._left
            and len(waiting) < WINDOW
            and self.queued + len(waiting) < self._shared.released
        ):
            text = f"{self._left.pop(0)} try {self._attempts}"
            waiting.append(text)
            if not program.write(text.encode() + b"\n"):
                return

    def _give_back(self, waiting: list[str]) -> None:
        self._ledger.doubtful.update(waiting)
        self._left[:0] = [text.rpartition(" try ")[0] for text in waiting]


def sent_id(line: bytes) -> str:
    """Return the id of a line of `send`."""
    row = json.loads(line)
    if row["state"] != "queued":
        raise ChaosError(f"send --stdin said {row}")
    return str(row["id"])


class Reader(threading.Thread):
    """Keeps `listen` running and notes what it prints."""

    def __init__(self, user: User, ledger: Ledger, shared: Shared) -> None:
        super().__init__(daemon=True)
        self._user, self._ledger, self._shared = user, ledger, shared
        self.program: Program | None = None

    def run(self) -> None:
        number = 0
        try:
            while not self._shared.stop.is_set():
                self._listen(number)
                number += 1
        except Exception as error:  # noqa: BLE001 - told to the main thread
            self._shared.problems.append(f"listener of {self._user.name}: {error!r}")

    def _listen(self, number: int) -> None:
        program = self._user.start("listen")
        with self._shared.lock:
            self.program = program
        with program:
            while not self._shared.stop.is_set():
                try:
                    line = program.line(0.5)
                except SilentError:
                    continue
                if line is None:
                    ended = program.wait()
                    if ended.code != -9:
                        raise ChaosError(f"listen ended with {ended.code}: {ended.err}")
                    return
                self._ledger.printed.append(printed_row(line, number))


def printed_row(line: bytes, run: int) -> Printed:
    """Return what a line of `listen` tells."""
    row = json.loads(line)
    return Printed(run, str(row["id"]), int(row["seq"]), str(row["text"]))


class Chaos:
    """One run of a plan."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self._plan = plan
        self._random = random.Random(plan.seed)
        self._clinic = Clinic(folder)
        self._shared = Shared(time.monotonic() + plan.seconds)
        self.ledgers = (Ledger(), Ledger())

    def run(self) -> Outcome:
        with self._clinic as clinic:
            doctor, patient = clinic.doctor(), clinic.patient()
            each = self._plan.texts // 2
            feeders = (
                Feeder(doctor, patient, self.ledgers[0], each, self._shared),
                Feeder(patient, doctor, self.ledgers[1], each, self._shared),
            )
            readers = (
                Reader(patient, self.ledgers[0], self._shared),
                Reader(doctor, self.ledgers[1], self._shared),
            )
            for thread in (*feeders, *readers):
                thread.start()
            try:
                kills = self._kill_now_and_then(feeders, readers)
                self._wait_for_all(feeders)
            finally:
                self._shared.stop.set()
                for thread in (*feeders, *readers):
                    if thread.program is not None and thread.program.running:
                        thread.program.send_signal(signal.SIGKILL)
                    thread.join(30)
        repeats = sum(check(ledger) for ledger in self.ledgers)
        if repeats > kills["listen"]:
            raise ChaosError(f"{repeats} texts printed again after {kills['listen']} kills")
        return Outcome(kills, repeats, sum(len(ledger.sent) for ledger in self.ledgers))

    def _kill_now_and_then(
        self, feeders: tuple[Feeder, ...], readers: tuple[Reader, ...]
    ) -> Counter[str]:
        """Kill somebody each time that a share of the texts has been queued, and a bit later."""
        kills: Counter[str] = Counter()
        each = self._plan.texts // 2
        for number in range(self._plan.kills):
            self._shared.released = each * number // self._plan.kills + 1
            self._wait_until_queued(feeders)
            victim = self._plan.victims[number % len(self._plan.victims)]
            if victim == "mail":
                kills["listen"] += sum(self._kill_program(reader) for reader in readers)
            self._shared.released = each * (number + 1) // self._plan.kills
            if victim == "mail":
                self._wait_until_queued(feeders)
                time.sleep(self._random.uniform(0, MAIL_SECONDS))
            else:
                time.sleep(self._random.expovariate(1 / MEAN_DELAY_SECONDS))
            kills[victim] += self._kill(victim, feeders, readers)
        self._shared.released = each
        return kills

    def _kill(self, victim: str, feeders: tuple[Feeder, ...], readers: tuple[Reader, ...]) -> int:
        if victim in {"server", "mail"}:
            self._clinic.kill()
            time.sleep(self._random.uniform(0, 0.5))
            self._clinic.start()
            return 1
        number = self._random.randrange(2)
        return self._kill_program((feeders if victim == "send" else readers)[number])

    def _kill_program(self, thread: Feeder | Reader) -> int:
        with self._shared.lock:
            if thread.program is None or not thread.program.running:
                return 0
            thread.program.send_signal(signal.SIGKILL)
        return 1

    def _wait_until_queued(self, feeders: tuple[Feeder, ...]) -> None:
        while min(feeder.queued for feeder in feeders) < self._shared.released:
            self._shared.check()
            time.sleep(TURN_SECONDS)

    def _wait_for_all(self, feeders: tuple[Feeder, ...]) -> None:
        end = time.monotonic() + FINAL_SECONDS
        while any(feeder.is_alive() for feeder in feeders) or any(
            ledger.missing for ledger in self.ledgers
        ):
            self._shared.check()
            if time.monotonic() > end:
                break  # the check of the ledgers says what is lost
            time.sleep(0.05)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=600)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=900)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000))
    parser.add_argument("--victims", nargs="+", choices=VICTIMS, default=VICTIMS)
    given = parser.parse_args()
    plan = Plan(given.texts, given.kills, given.seconds, given.seed, tuple(given.victims))
    print(plan, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        outcome = Chaos(Path(folder), plan).run()
    print(outcome)
    return 0


if __name__ == "__main__":
    sys.exit(main())
