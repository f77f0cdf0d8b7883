"""The brokers of the contract suite by name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.brokers.contract.embedded import Embedded
from tests.brokers.contract.mosquitto import Mosquitto
from tests.brokers.contract.nats import Nats, NatsCluster
from tests.brokers.contract.under_test import BrokerUnderTest, Options
from tests.conftest import FULL

BROKERS: Final[dict[str, type[BrokerUnderTest]]] = {
    kind.name: kind for kind in (Embedded, Mosquitto, Nats, NatsCluster)
}
NAMES: Final = tuple(name for name in BROKERS if FULL or name != NatsCluster.name)
"""Three nodes take their time to agree: `make brokers` runs them; the suite has `test_cluster`."""


def made(name: str, folder: Path, logins: Mapping[str, str], options: Options) -> BrokerUnderTest:
    """Return a broker that is not started yet, with its files in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    return BROKERS[name](folder, logins, options)
