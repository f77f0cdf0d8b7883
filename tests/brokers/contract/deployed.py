"""A broker as operators deploy it: on the files of `ratchetmq config`, with its logins kept."""

import json
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple

from broker.generate.deploy import ACCOUNTS_FILE, write_deployment
from broker.settings import BrokerKind, BrokerSettings
from broker.settings_sources import load_settings
from client_sdk.wire.ids import DIRECTORY_LOGIN
from tests.brokers.contract.keeper import Keeper
from tests.brokers.contract.under_test import BrokerUnderTest, Options, until_open
from tests.brokers.other_brokers import free_ports, require_program
from tests.e2e.programs import Program

STORES = "store*"
"""The folders of what waits, one a node."""


class Machine(NamedTuple):
    """What one machine of an operator has: the settings, the folder made of them, the file."""

    settings: BrokerSettings
    out: Path
    config: Path


class Deployed(BrokerUnderTest):
    """One server, or one a node; nothing is of the tests but the ports.

    A missing program fails in CI and skips elsewhere.
    """

    kind: ClassVar[BrokerKind]
    nodes: ClassVar[int] = 1

    def __init__(self, folder: Path, logins: Mapping[str, str], options: Options) -> None:
        super().__init__(folder, logins, options)
        self.program = require_program(self.kind)
        self.machines = self._deployed()
        self._keeper = Keeper([(one.settings, one.out) for one in self.machines])
        self._servers: dict[int, Program] = {}

    @property
    def ports(self) -> tuple[int, ...]:
        return tuple(one.settings.port for one in self.machines)

    def start(self) -> None:
        for node in range(self.nodes):
            self.run(node)
        for node in range(self.nodes):
            until_open(self.ports[node], self._servers[node])
        self._keeper.start()
        for node in range(self.nodes):
            self.until_serving(node)

    def run(self, node: int = 0) -> Program:
        """Start one server alone; on NATS nobody can log in while no logins are kept."""
        command = [str(self.program), "-c", str(self.machines[node].config)]
        self._servers[node] = Program(command)
        return self._servers[node]

    def until_serving(self, node: int = 0) -> None:
        """Wait until a server lets a login in: NATS needs its streams, and most of the nodes."""
        port = self.ports[node]
        until_open(port, self._servers[node])
        self.until_let_in(DIRECTORY_LOGIN, port)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def wipe(self) -> None:
        for store in (self.data_dir / self.kind).glob(STORES):
            shutil.rmtree(store)
            store.mkdir()

    def close(self) -> None:
        self._keeper.stop()
        super().close()

    def _end(self, number: signal.Signals) -> None:
        for program in self._servers.values():
            program.send_signal(number)
        for node in list(self._servers):
            self._servers.pop(node).wait()

    def _deployed(self) -> list[Machine]:
        ports = free_ports(4 * self.nodes)
        mqtt, nats, routes, websocket = (ports[first::4] for first in range(4))
        shared: dict[str, object] = {
            "broker": self.kind,
            "data_dir": str(self.data_dir),
            "public_urls": [self.url(port) for port in mqtt],
        }
        if self.nodes > 1:
            shared["cluster_nodes"] = [f"127.0.0.1:{port}" for port in routes]
        if self.options.tls is not None:
            shared["tls_cert"] = str(self.options.tls.certificate)
            shared["tls_key"] = str(self.options.tls.key)
        machines = []
        for node in range(self.nodes):
            own: dict[str, object] = {"port": mqtt[node], "nats_port": nats[node]}
            if self.options.websocket:
                own["ws_port"] = websocket[node]
            machines.append(self._machine(node, shared | own))
        return machines

    def _machine(self, node: int, values: Mapping[str, object]) -> Machine:
        file, out = self.folder / f"settings-{node}.toml", self.folder / f"out-{node}"
        lines = [f"{name} = {json.dumps(value)}\n" for name, value in values.items()]
        file.write_text("".join(lines))
        first = self.folder / "out-0" / ACCOUNTS_FILE
        if node > 0:  # the nodes of a cluster share their secrets
            out.mkdir()
            shutil.copy(first, out)
        settings = load_settings(file, {})
        return Machine(settings, out, write_deployment(settings, out)[node])
