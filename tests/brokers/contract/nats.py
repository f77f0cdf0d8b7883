"""nats-server as `ratchetmq config nats` sets it up: one, or a cluster of three."""

from typing import ClassVar

from broker.settings import BrokerKind
from tests.brokers.contract.deployed import Deployed
from tests.brokers.contract.under_test import Limits, NoWebSocketError


class Nats(Deployed):
    """One server: it hands over a part of what waits for a while, in no order."""

    name: ClassVar[str] = "nats"
    kind: ClassVar[BrokerKind] = "nats"
    limits: ClassVar[Limits] = Limits(in_order=False, whole=False)

    @property
    def ws_url(self) -> str:
        if not self.options.websocket:
            raise NoWebSocketError("it was not asked for")
        return f"ws://127.0.0.1:{self.machines[0].settings.ws_port}/mqtt"


class NatsCluster(Nats):
    """Three nodes on loopback with three copies."""

    name: ClassVar[str] = "nats-cluster"
    nodes: ClassVar[int] = 3

    def kill_node(self, node: int) -> None:
        """End one node by SIGKILL."""
        self._servers.pop(node).kill()

    def start_node(self, node: int) -> None:
        """Run a node that was killed again; return when it lets logins in."""
        self.run(node)
        self.until_serving(node)
