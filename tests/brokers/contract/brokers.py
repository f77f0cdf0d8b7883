"""The brokers of the contract suite by name; a missing program fails in CI and skips elsewhere."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tests.brokers.contract.embedded import Embedded
from tests.brokers.contract.mosquitto import Mosquitto
from tests.brokers.contract.nats import Nats, NatsCluster
from tests.brokers.contract.nats_server import require_nats_server
from tests.brokers.contract.under_test import BrokerUnderTest, Options
from tests.conftest import _require_program

FULL: Final = os.environ.get("RATCHETMQ_FULL", "") not in {"", "0"}
"""Whether the rows that start a cluster of their own run too: `make brokers` has time for them."""

Maker = Callable[[Path, Mapping[str, str], Options], BrokerUnderTest]


def _mosquitto(folder: Path, logins: Mapping[str, str], options: Options) -> BrokerUnderTest:
    return Mosquitto(folder, logins, options, _require_program("mosquitto"))


def _nats(folder: Path, logins: Mapping[str, str], options: Options) -> BrokerUnderTest:
    return Nats(folder, logins, options, require_nats_server())


def _cluster(folder: Path, logins: Mapping[str, str], options: Options) -> BrokerUnderTest:
    return NatsCluster(folder, logins, options, require_nats_server())


MAKERS: Final[dict[str, Maker]] = {
    Embedded.name: Embedded,
    Mosquitto.name: _mosquitto,
    Nats.name: _nats,
    NatsCluster.name: _cluster,
}


ALL: Final = tuple(MAKERS)
QUICK: Final = ALL if FULL else tuple(name for name in ALL if name != NatsCluster.name)
"""For rows with a broker of their own: a cluster takes six seconds to start."""


def made(name: str, folder: Path, logins: Mapping[str, str], options: Options) -> BrokerUnderTest:
    """Return a broker that is not started yet, with its files in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    return MAKERS[name](folder, logins, options)
