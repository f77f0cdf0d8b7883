"""A PostgreSQL server of our own on the loopback interface, and a fresh database for each test.

Debian's ``postgresql`` has the programs; the server runs as the user ``postgres`` where the tests
run as root, which PostgreSQL refuses.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from keydir.stores.opening import open_store

PROGRAMS = "/usr/lib/postgresql/*/bin"
INIT_OPTIONS = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8")
START_SECONDS = 30.0
_numbers = count(1)


def programs() -> Path | None:
    """Return the folder of the newest server's programs, or None where there is none."""
    found = sorted(Path("/").glob(f"{PROGRAMS[1:]}/initdb"), key=lambda one: one.parts[-3])
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return None if on_path is None else Path(on_path).resolve().parent


@dataclass
class Postgres:
    """A running server; a restart keeps its port."""

    bin: Path
    folder: Path
    port: int
    fsync: bool
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)
    _template: str = ""

    def database(self) -> str:
        """Return the address of a new, empty database."""
        name = f"test{next(_numbers)}"
        self.sql(f"CREATE DATABASE {name}")
        return self.url(name)

    def migrated(self) -> str:
        """Return the address of a new database with the directory's tables."""
        if not self._template:
            template = self.database()
            open_store(template).close()
            self._template = template.rpartition("/")[2]
        name = f"test{next(_numbers)}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {self._template}")
        return self.url(name)

    def url(self, name: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def sql(self, statement: str, name: str = "postgres") -> str:
        """Return what psql prints of one statement."""
        done = subprocess.run(
            [self.bin / "psql", "-X", "-A", "-t", "-q", "-d", self.url(name), "-c", statement],
            check=True,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
        )
        return done.stdout.strip()

    def start(self) -> None:
        fsync = "on" if self.fsync else "off"
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": fsync,
            "max_connections": "200",
            "shared_buffers": "128MB",
        }
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.bin / "postgres", "-D", self.folder / "data", *arguments],
                stdout=subprocess.DEVNULL,
                stderr=log,
                **as_owner(),
            )
        self._wait()

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT is its fast shutdown, SIGQUIT a crash."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(START_SECONDS)
            self.process = None

    def _wait(self) -> None:
        assert self.process is not None
        ready = [self.bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready, check=False, timeout=START_SECONDS).returncode != 0:
            try:
                self.process.wait(0.02)
            except subprocess.TimeoutExpired:
                continue
            log = (self.folder / "log").read_text(errors="replace")
            raise AssertionError(f"PostgreSQL ended: {log}")


def as_owner() -> dict[str, int | str]:
    """Return how a process is started that root must not be."""
    if os.geteuid() != 0:
        return {}
    owner = pwd.getpwnam("postgres")
    return {"user": owner.pw_uid, "group": owner.pw_gid, "cwd": "/"}


@contextmanager
def running_postgres(*, fsync: bool = False) -> Iterator[Postgres]:
    """Run a server in a folder of its own, which is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="ratchetmq-postgres-"))
    try:
        with postgres_in(folder, fsync=fsync) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def postgres_in(folder: Path, *, fsync: bool) -> Iterator[Postgres]:
    """Run a server in a folder that stays; what an earlier one left there is served again."""
    found = programs()
    assert found is not None
    if os.geteuid() == 0:
        owner = pwd.getpwnam("postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    if not (folder / "data").exists():
        subprocess.run(
            [found / "initdb", "-D", folder / "data", "-N", *INIT_OPTIONS],
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=120,
            **as_owner(),
        )
    server = Postgres(found, folder, _free_port(), fsync)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
