"""Three nodes of nats-server on this machine, by the product's own configuration.

Each node has its `ratchetmq accounts` beside it, as each machine of a cluster has; the nodes speak
TLS with devices and with each other.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from broker.accounts.nats_client import NatsLogin, connected
from broker.certs import make_certificates
from broker.directory import directory_of
from broker.generate.deploy import read_nats_accounts, write_deployment
from broker.generate.nats import RETAINED_STREAM, SYSTEM_USER, config_file
from broker.settings_sources import load_settings
from keydir.prepare import prepare_directory
from tests.brokers.other_brokers import free_ports
from tests.e2e.programs import Program, ratchetmq

NODES: Final = 3
START_SECONDS: Final = 90.0
"""For a cluster to agree for the first time, on a busy machine."""

JETSTREAM_SUBJECT: Final = "$SYS.REQ.SERVER.PING.JSZ"
SYNC_ALWAYS: Final = "  sync_interval: always\n"

_SETTINGS: Final = """\
broker = "nats"
data_dir = "{data}"
log_level = "info"
host = "127.0.0.1"
port = {port}
nats_port = {nats_port}
tls_cert = "{certificate}"
tls_key = "{key}"
tls_ca = "{ca}"
cluster_nodes = [{routes}]
public_urls = [{urls}]
"""


@dataclass
class Node:
    """One node: its files and its processes."""

    settings: Path
    folder: Path
    config: Path
    port: int
    route_port: int
    server: Program | None = None
    accounts: Program | None = None


class Cluster:
    """The nodes and the folder of the directory; leave the context and all processes are gone."""

    def __init__(self, folder: Path, program: Path, *, sync_always: bool = True) -> None:
        """Write everything; nothing runs yet.

        Args:
            folder: Where to; it has to exist.
            program: nats-server.
            sync_always: False takes the shipped ``sync_interval: always`` out, to measure it.
        """
        self.data = folder / "server"
        self._program = program
        ports = free_ports(3 * NODES)
        self.ports, self._route_ports = ports[:NODES], ports[NODES : 2 * NODES]
        self.nats_ports = ports[2 * NODES :]
        self.urls = tuple(f"mqtts://127.0.0.1:{port}" for port in self.ports)
        made = make_certificates(self.data, ["127.0.0.1"])
        for number in range(NODES):
            (folder / f"node-{number}.toml").write_text(
                _SETTINGS.format(
                    data=self.data,
                    port=self.ports[number],
                    nats_port=self.nats_ports[number],
                    certificate=made.certificate,
                    key=made.key,
                    ca=made.ca,
                    routes=", ".join(f'"127.0.0.1:{port}"' for port in self._route_ports),
                    urls=", ".join(f'"{url}"' for url in self.urls),
                )
            )
        self.nodes = [self._write(folder, number) for number in range(NODES)]
        prepare_directory(directory_of(load_settings(self.nodes[0].settings, {})))
        for node in [] if sync_always else self.nodes:
            text = node.config.read_text()
            assert SYNC_ALWAYS in text
            node.config.write_text(text.replace(SYNC_ALWAYS, ""))

    def start(self) -> None:
        """Run all of it; devices have to wait until the nodes have agreed."""
        for number in range(NODES):
            self.start_node(number)
        for node in self.nodes:
            command = ("accounts", "nats", "--config", str(node.settings))
            node.accounts = Program(ratchetmq(*command, "--out", str(node.folder)))
        for node in self.nodes:
            assert node.accounts is not None
            assert node.accounts.row(START_SECONDS) == {"event": "ready"}

    def number_of(self, url: str | None) -> int:
        """Return which node an address is of."""
        assert url is not None
        return self.urls.index(url)

    async def leader(self) -> int:
        """Return which node leads the stream of waiting mail: it takes what the others write."""
        known = read_nats_accounts(self.nodes[0].folder)
        login = NatsLogin(self.nats_ports[0], SYSTEM_USER, known.system)
        wanted = json.dumps({"accounts": True, "streams": True}).encode()
        async with connected(login) as connection:
            answers = await connection.gather(JETSTREAM_SUBJECT, wanted, START_SECONDS, 1)
        accounts = json.loads(answers[0])["data"]["account_details"]
        streams = [stream for account in accounts for stream in account["stream_detail"]]
        (leader,) = [one["cluster"]["leader"] for one in streams if one["name"] == RETAINED_STREAM]
        return self.number_of_name(leader)

    def number_of_name(self, name: str) -> int:
        """Return which node a server is."""
        return int(name.removeprefix("ratchetmq-")) - 1

    def kill_node(self, number: int) -> None:
        """End a node by SIGKILL; what stands beside it waits for it."""
        server = self.nodes[number].server
        assert server is not None
        server.kill()

    def start_node(self, number: int) -> None:
        """Run a node on what is on its disk."""
        node = self.nodes[number]
        node.server = Program([str(self._program), "-c", str(node.config)])

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            for program in (node.accounts, node.server):
                if program is not None:
                    program.kill()

    def _write(self, folder: Path, number: int) -> Node:
        """Write what one machine has: made on the first one, copied to the others."""
        first, own = folder / "out-0", folder / f"out-{number}"
        if number:
            shutil.copytree(first, own)
        settings = load_settings(folder / f"node-{number}.toml", {})
        write_deployment(settings, own)
        config = own / config_file(settings, number)
        return Node(
            folder / f"node-{number}.toml",
            own,
            config,
            self.ports[number],
            self._route_ports[number],
        )
