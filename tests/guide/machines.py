"""Machines of the guide as folders and loopback addresses of one machine; nobody has to be root.

``replacements`` is all that is changed in a block before bash gets it.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.brokers.other_brokers import free_ports, require_program
from tests.e2e.clinic import until
from tests.guide.page import EVERY_MACHINE, Block
from tests.postgres import Postgres

ROOT = Path(__file__).parents[2]
ADDRESSES = {"mq1": "127.0.0.11", "mq2": "127.0.0.12", "mq3": "127.0.0.13"}
BLOCK_SECONDS = 200.0
STANDARD_PORTS = ("8883", "6222", "9464")
FOLDERS = ("/etc/ratchetmq", "/etc/systemd/system", "/var/lib/ratchetmq", "/var/backups/ratchetmq")


class BlockFailedError(AssertionError):
    """A block of the guide did not do what it says."""


@dataclass(frozen=True)
class Machine:
    """A folder that stands for the root of a machine's disk, and its address."""

    name: str
    root: Path
    replacements: tuple[tuple[str, str], ...]
    environment: dict[str, str]

    def path(self, standard: str) -> Path:
        """Return where a path of the guide is."""
        return self.root / standard.lstrip("/")

    def make(self) -> None:
        for folder in (*FOLDERS, "/root", "/home", "/run", "/log"):
            self.path(folder).mkdir(parents=True, mode=0o700)
        self.path("/home/configs").symlink_to(ROOT / "configs")
        (self.root / "replaced.json").write_text(json.dumps(self.replacements))

    def type(self, block: Block) -> None:
        """Type a block; raises BlockFailedError with what was printed where a command fails."""
        text = block.text
        for one, other in self.replacements:
            text = text.replace(one, other)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.path("/home"),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=BLOCK_SECONDS,
            check=False,
        )
        if done.returncode:
            raise BlockFailedError(
                f"docs/operations.md line {block.line} on {self.name} ended with"
                f" {done.returncode}:\n{done.stdout}\n{self.logs()}"
            )

    def lose(self, *folders: str) -> None:
        """Lose what runs and these folders, as with a disk; the folders are there again, empty."""
        end(self)
        for folder in folders:
            shutil.rmtree(self.path(folder))
            self.path(folder).mkdir(mode=0o700)

    def pids(self) -> list[int]:
        """Return the services that were started here and run."""
        found = []
        for file in self.path("/run").iterdir():
            with suppress(OSError, ValueError):
                pid = int(file.read_text())
                if str(self.root) in Path(f"/proc/{pid}/environ").read_text():
                    found.append(pid)
        return found

    def logs(self) -> str:
        return "\n".join(
            f"--- {self.name} {file.name}\n{file.read_text(errors='replace')[-1500:]}"
            for file in sorted(self.path("/log").iterdir())
        )


class Machines:
    """Those of the guide; leave the context and nothing of them runs."""

    def __init__(self, folder: Path, postgres: Postgres) -> None:
        """Make the machines with what a reader finds there.

        Args:
            folder: For all their files.
            postgres: The server on the machine ``db``.
        """
        self._folder = folder
        self._make_programs()
        nats_ports = free_ports(3)
        ports = [str(port) for port in ports_free_on(tuple(ADDRESSES.values()))]
        self.of = {
            name: self._machine(name, dict(zip(STANDARD_PORTS, ports, strict=True)), nats, postgres)
            for name, nats in zip(EVERY_MACHINE, nats_ports, strict=True)
        }
        self.of["db"] = self._machine("db", {}, 0, postgres)
        for machine in self.of.values():
            machine.make()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        end(*self.of.values())

    def _machine(
        self, name: str, ports: dict[str, str], nats_port: int, postgres: Postgres
    ) -> Machine:
        root, programs = self._folder / name, self._folder / "programs"
        replaced = {
            "chat.example.org": ADDRESSES["mq1"],
            **{f"{one}.example.org:/": f"{self._folder / one}/" for one in ADDRESSES},
            **{f"{one}.example.org": address for one, address in ADDRESSES.items()},
            "db.example.org": f"127.0.0.1:{postgres.port}",
            "0.0.0.0": ADDRESSES.get(name, ""),
            **ports,
            "/usr/local/bin/ratchetmq": f"{programs}/ratchetmq",
            "/usr/local/bin/nats-server": str(require_program("nats")),
            "/usr/sbin/mosquitto": str(require_program("mosquitto")),
            "-C / ": f"-C {root} ",
            **{folder: f"{root}{folder}" for folder in FOLDERS},
            " /root/": f" {root}/root/",
        }
        environment = {
            "PATH": f"{programs}:{postgres.bin}:{require_program('nats').parent}:/usr/bin:/bin",
            "HOME": f"{root}/home",
            "PYTHONPATH": str(ROOT),
            "GUIDE_ROOT": str(root),
            # Three machines have one loopback interface here.
            "RATCHETMQ_BROKER_NATS_PORT": str(nats_port),
        }
        if name == "db":
            environment |= {"PGHOST": "127.0.0.1", "PGPORT": str(postgres.port)}
            environment |= {"PGUSER": "postgres"}
        return Machine(name, root, tuple(replaced.items()), environment)

    def _make_programs(self) -> None:
        """Make what a machine of the tests lacks: another user, systemd, and other machines."""
        systemctl = f'exec {sys.executable} -I {ROOT}/tests/guide/systemctl.py "$@"'
        for name, line in {
            "sudo": 'if [ "$1" = -u ]; then shift 2; fi; exec "$@"',
            "systemctl": systemctl,
            "scp": 'exec cp -p "$@"',
            "ratchetmq": f'exec {sys.executable} -m broker.cli "$@"',
        }.items():
            program = self._folder / "programs" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(f"#!/bin/sh\n{line}\n")
            program.chmod(0o700)


def end(*machines: Machine) -> None:
    """Kill what was started on machines, by its pids, and return when it is gone."""
    for machine in machines:
        for pid in machine.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    until(lambda: not any(machine.pids() for machine in machines), "the machines are silent")


def ports_free_on(addresses: tuple[str, ...]) -> list[int]:
    """Return as many ports as STANDARD_PORTS that are free now on every address."""
    found: list[int] = []
    while len(found) < len(STANDARD_PORTS):
        (port,) = free_ports(1)
        with suppress(OSError), ExitStack() as stack:
            for address in addresses:
                stack.enter_context(socket.create_server((address, port)))
            found.append(port)
    return found
