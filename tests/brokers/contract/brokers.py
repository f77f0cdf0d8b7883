"""The brokers of the contract suite by name."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.brokers.contract.embedded import Embedded
from tests.brokers.contract.mosquitto import Mosquitto
from tests.brokers.contract.nats import Nats, NatsCluster
from tests.brokers.contract.under_test import BrokerUnderTest, Options

FULL: Final = os.environ.get("RATCHETMQ_FULL", "") not in {"", "0"}
"""Whether the rows that start a cluster of their own run too: `make brokers` has time for them."""

BROKERS: Final[dict[str, type[BrokerUnderTest]]] = {
    kind.name: kind for kind in (Embedded, Mosquitto, Nats, NatsCluster)
}
ALL: Final = tuple(BROKERS)
QUICK: Final = ALL if FULL else tuple(name for name in ALL if name != NatsCluster.name)
"""For rows with a broker of their own: a cluster takes seconds to start."""


def made(name: str, folder: Path, logins: Mapping[str, str], options: Options) -> BrokerUnderTest:
    """Return a broker that is not started yet, with its files in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    return BROKERS[name](folder, logins, options)
