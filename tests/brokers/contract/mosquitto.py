"""Mosquitto 2 as `ratchetmq config mosquitto` sets it up."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from broker.errors import UnsafeError
from broker.generate.mosquitto import AUTOSAVE_CHANGES
from broker.settings import BrokerKind
from tests.brokers.contract.deployed import Deployed
from tests.brokers.contract.under_test import Limits, NoWebSocketError, Options


class Mosquitto(Deployed):
    """One server; what it acknowledged since its database was last written, kill -9 loses."""

    name: ClassVar[str] = "mosquitto"
    kind: ClassVar[BrokerKind] = "mosquitto"
    limits: ClassVar[Limits] = Limits(
        refuses_filters=False, foreign_client_id="renamed", durable=False, at_risk=AUTOSAVE_CHANGES
    )

    def __init__(self, folder: Path, logins: Mapping[str, str], options: Options) -> None:
        try:
            super().__init__(folder, logins, options)
        except UnsafeError as error:
            raise NoWebSocketError(str(error)) from error

    @property
    def ws_url(self) -> str:
        raise NoWebSocketError("it has none that is to be used")
