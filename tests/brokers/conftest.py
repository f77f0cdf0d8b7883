"""A running embedded broker on a free port with the credentials of ``names``."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.embedded import EmbeddedBroker
from broker.settings import BrokerSettings
from tests.brokers.memory_credentials import MemoryCredentials
from tests.brokers.names import SECRETS


@pytest.fixture
def credentials() -> MemoryCredentials:
    return MemoryCredentials(SECRETS)


@pytest.fixture
def settings(tmp_path: Path) -> BrokerSettings:
    return BrokerSettings(port=0, data_dir=tmp_path / "broker")


@pytest.fixture
async def broker(
    settings: BrokerSettings, credentials: MemoryCredentials
) -> AsyncIterator[EmbeddedBroker]:
    running = EmbeddedBroker(settings, credentials)
    await running.start()
    yield running
    await running.stop()
