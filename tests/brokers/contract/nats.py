"""nats-server with MQTT and JetStream: one node, or a cluster of three with three copies."""

import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final

from client_sdk.wire.ids import DIRECTORY_LOGIN, ENROLL_LOGIN_PREFIX
from tests.brokers.contract.under_test import (
    START_SECONDS,
    BrokerUnderTest,
    Limits,
    NoWebSocketError,
    Options,
    free_port,
    until_open,
)
from tests.e2e.clinic import until
from tests.e2e.programs import Program

NODES: Final = 3

CONFIG: Final = """\
server_name: {name}
listen: "127.0.0.1:{port}"
max_payload: 128KB
jetstream {{ store_dir: "{folder}/store", sync_interval: always }}
mqtt {{ listen: "127.0.0.1:{mqtt}", max_ack_pending: 10000{replicas}{tls} }}
{websocket}
{cluster}
accounts {{ MSG {{ jetstream: enabled, users: [
{users}
] }} }}
"""

CLUSTER: Final = """\
cluster {{ name: ratchetmq, listen: "127.0.0.1:{own}"
  authorization {{ user: route, password: "{secret}", timeout: 2 }}
  routes: [{routes}] }}"""

USER: Final = """\
  {{ user: "{login}", password: "{secret}", allowed_connection_types: ["MQTT", "MQTT_WS"]
     permissions: {{
       publish: {{ allow: [{publish}] }}
       subscribe: {{ allow: [{subscribe}] }} }} }}"""


class Nats(BrokerUnderTest):
    """One node, or as many as ``nodes`` says."""

    name: ClassVar[str] = "nats"
    limits: ClassVar[Limits] = Limits(in_order=False, whole=False, foreign_client_id="kicks")
    nodes: ClassVar[int] = 1

    def __init__(
        self, folder: Path, logins: Mapping[str, str], options: Options, program: Path
    ) -> None:
        super().__init__(folder, logins, options)
        self._server = program
        self._route_ports = [free_port() for _ in range(self.nodes)]
        self._client_ports = [free_port() for _ in range(self.nodes)]
        self._mqtt_ports = [free_port() for _ in range(self.nodes)]
        self._ws_port = free_port()
        self._programs: dict[int, Program] = {}
        self.write_config()

    @property
    def ports(self) -> tuple[int, ...]:
        return tuple(self._mqtt_ports)

    @property
    def ws_url(self) -> str:
        if not self.options.websocket:
            raise NoWebSocketError("it was not asked for")
        return f"ws://127.0.0.1:{self._ws_port}/mqtt"

    def start(self) -> None:
        for number in range(self.nodes):
            self._run(number)
        for number in range(self.nodes):
            self._until_serving(number)

    def stop(self) -> None:
        for program in self._programs.values():
            program.send_signal(signal.SIGTERM)
        for number in list(self._programs):
            self._programs.pop(number).wait()

    def kill(self) -> None:
        for program in self._programs.values():
            program.send_signal(signal.SIGKILL)
        for number in list(self._programs):
            self._programs.pop(number).wait()

    def config(self, number: int) -> Path:
        return self.folder / f"node{number}.conf"

    def write_config(self) -> None:
        """Write the configuration of every node."""
        users = ",\n".join(_user(login, secret) for login, secret in self.logins.items())
        for number in range(self.nodes):
            folder = self.folder / f"node{number}"
            folder.mkdir(exist_ok=True)
            written = CONFIG.format(
                name=f"n{number}",
                folder=folder,
                port=self._client_ports[number],
                mqtt=self._mqtt_ports[number],
                replicas=f", stream_replicas: {self.nodes}" if self.nodes > 1 else "",
                tls=self._tls(),
                websocket=self._websocket() if number == 0 else "",
                cluster=self._cluster(number),
                users=users,
            )
            self.config(number).write_text(written)

    def wipe(self) -> None:
        for number in range(self.nodes):
            shutil.rmtree(self.folder / f"node{number}" / "store")

    def _take_logins(self) -> None:
        self.write_config()
        for program in self._programs.values():
            program.send_signal(signal.SIGHUP)

    def _run(self, number: int) -> None:
        self._programs[number] = Program([str(self._server), "-c", str(self.config(number))])

    def _until_serving(self, number: int) -> None:
        """Wait until a node lets a login in: it needs its streams, they need most of the nodes."""
        port = self._mqtt_ports[number]
        until_open(port, self._programs[number])
        secret = self.directory_password
        until(
            lambda: self.answers(DIRECTORY_LOGIN, secret, port=port) == 0,
            f"node {number} lets logins in",
            START_SECONDS,
        )

    def _tls(self) -> str:
        tls = self.options.tls
        if tls is None:
            return ""
        return f', tls {{ cert_file: "{tls.certificate}", key_file: "{tls.key}" }}'

    def _websocket(self) -> str:
        if not self.options.websocket:
            return ""
        return f'websocket {{ listen: "127.0.0.1:{self._ws_port}", no_tls: true }}'

    def _cluster(self, number: int) -> str:
        if self.nodes == 1:
            return ""
        secret = self.directory_password
        routes = ", ".join(
            f'"nats-route://route:{secret}@127.0.0.1:{port}"' for port in self._route_ports
        )
        return CLUSTER.format(own=self._route_ports[number], secret=secret, routes=routes)


class NatsCluster(Nats):
    """Three nodes on loopback."""

    name: ClassVar[str] = "nats-cluster"
    nodes: ClassVar[int] = NODES

    def kill_node(self, number: int) -> None:
        """End one node by SIGKILL."""
        self._programs.pop(number).kill()

    def start_node(self, number: int) -> None:
        """Run a node that was killed again; return when it lets logins in."""
        self._run(number)
        self._until_serving(number)


def _user(login: str, secret: str) -> str:
    if login == DIRECTORY_LOGIN:
        publish, subscribe = ["v1.>"], ["v1.>"]
    elif login.startswith(ENROLL_LOGIN_PREFIX):
        invitation = login.removeprefix(ENROLL_LOGIN_PREFIX)
        publish, subscribe = [f"v1.kd.enroll.{invitation}"], [f"v1.kd.enrolled.{invitation}"]
    else:
        publish = [f"v1.u.*.in.{login}.*", f"v1.kd.req.{login}.*", f"v1.u.{login}.>"]
        subscribe = [f"v1.u.{login}.>", f"v1.u.{login}"]  # `v1/u/me/#` is both to nats-server
    return USER.format(
        login=login, secret=secret, publish=_quoted(publish), subscribe=_quoted(subscribe)
    )


def _quoted(subjects: list[str]) -> str:
    return ", ".join(f'"{subject}"' for subject in subjects)
