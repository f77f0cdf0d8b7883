"""A served system: one `ratchetmq serve` process, its users and their stores."""

import asyncio
import fcntl
import hashlib
import itertools
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from client_sdk import Messenger
from keydir.commands import Invite, invite
from keydir.config import DirectorySettings
from tests.e2e.programs import PATIENCE_SECONDS, Fields, Program, Result, ratchetmq, run

MOSQUITTO_SECONDS = 20.0


@dataclass(frozen=True)
class Login:
    """One device's MQTT login, as `ratchetmq credentials` prints it."""

    host: str
    port: str
    username: str
    password: str

    @property
    def options(self) -> list[str]:
        """What mosquitto_sub and mosquitto_pub take."""
        where = ["-h", self.host, "-p", self.port, "-V", "mqttv311"]
        return [*where, "-u", self.username, "-P", self.password]


@dataclass(frozen=True)
class User:
    """One enrolled device; its store opens with a key file, which is faster than a passphrase."""

    name: str
    store: Path

    @property
    def address(self) -> str:
        return f"{self.name}-1"

    def run(self, command: str, *arguments: str, stdin: bytes = b"", seconds: float = 60) -> Result:
        return run(
            command, "--store", str(self.store), "--json", *arguments, stdin=stdin, seconds=seconds
        )

    def start(self, command: str, *arguments: str) -> Program:
        return Program(ratchetmq(command, "--store", str(self.store), "--json", *arguments))

    @contextmanager
    def listening(self, *arguments: str) -> Iterator[Program]:
        with self.start("listen", *arguments) as program:
            yield program

    def wait_for_listener(self) -> None:
        """Return when a process holds the store's connection; see client_sdk.delivery.lease."""
        until(self._is_leased, "a process holds the store's connection")

    def _is_leased(self) -> bool:
        try:
            with Path(f"{self.store}.lock").open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def login(self) -> Login:
        found = self.run("credentials").row
        assert isinstance(found["broker_url"], str)
        host, _, port = found["broker_url"].removeprefix("mqtt://").partition(":")
        return Login(host, port, str(found["username"]), str(found["password"]))

    def state(self) -> Fields:
        return self.run("status").row


class Clinic:
    """The server of one data directory, started and stopped at will, and the users on it."""

    def __init__(self, folder: Path, policy: str = "clinic") -> None:
        self.folder = folder
        self.data = folder / "server"
        self._policy = policy
        self._server: Program | None = None
        self._numbers = itertools.count(1)
        self.url = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self.kill()

    @property
    def options(self) -> list[str]:
        """What `serve` is told besides."""
        return []

    @property
    def server(self) -> Program:
        assert self._server is not None
        return self._server

    def start(self) -> None:
        where = ["--data", str(self.data), "--port", "0", "--policy", self._policy]
        self._server = Program(ratchetmq("serve", *where, *self.options))
        row = self._server.row()
        assert row["event"] == "ready"
        earlier, self.url = self.url, str(row["url"])
        assert earlier in {"", self.url}, "the port of the last start was not taken again"

    def stop(self) -> Result:
        ended = self.server.end()
        self._server = None
        return ended

    def kill(self) -> None:
        self.server.kill()
        self._server = None

    def restart(self) -> None:
        assert self.stop().code == 0
        self.start()

    def invitation(self, name: str, role: str | None = None) -> str:
        return invite(DirectorySettings(data_dir=self.data), Invite(name, role)).invitation

    def enrol(self, prefix: str, role: str | None = None) -> User:
        """Invite and enrol a new user, in this process because that is faster."""
        name = f"{prefix}{next(self._numbers)}"
        store = self.folder / f"{name}.db"
        asyncio.run(Messenger.enroll(self.invitation(name, role), store))
        return User(name, store)

    def doctor(self) -> User:
        return self.enrol("doc", "doctor")

    def patient(self) -> User:
        return self.enrol("pat", "patient")


def mosquitto(program: str, login: Login, *arguments: str) -> Result:
    """Run mosquitto_sub or mosquitto_pub to its end; give -W to the former."""
    ended = subprocess.run(
        [program, *login.options, *arguments],
        capture_output=True,
        timeout=MOSQUITTO_SECONDS,
        check=False,
    )
    return Result(ended.returncode, ended.stdout.decode("latin-1"), ended.stderr.decode("latin-1"))


def until(holds: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Return as soon as a condition outside this process holds; fail where it does not."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def texts(rows: list[Fields]) -> list[object]:
    return [row["text"] for row in rows]


def picture(*places: Path) -> dict[str, str]:
    """Return every file below some places with a hash of its bytes."""
    files = [file for place in places for file in (place, *place.rglob("*")) if file.is_file()]
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
