"""A login that was made a moment ago is tried again when it is refused; an old one is not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from broker.embedded import EmbeddedBroker
from broker.settings import BrokerSettings
from client_sdk.delivery.clock import now_ms
from client_sdk.delivery.new_login import LOGIN_REACHES_MS, connected_with_new_login
from client_sdk.transport.errors import LoginRefusedError
from client_sdk.transport.mqtt import Login, MqttTransport
from tests.brokers.memory_credentials import MemoryCredentials


class LateCredentials(MemoryCredentials):
    """Knows a login only when it is asked for the third time."""

    asked = 0

    def secret_hash(self, login: str) -> bytes | None:
        self.asked += 1
        return super().secret_hash(login) if self.asked >= 3 else None


@asynccontextmanager
async def late_broker(folder: Path) -> AsyncIterator[tuple[LateCredentials, MqttTransport]]:
    credentials = LateCredentials({"alice-1": "secret"})
    broker = EmbeddedBroker(BrokerSettings(port=0, data_dir=folder), credentials)
    await broker.start()
    try:
        url = f"mqtt://127.0.0.1:{broker.port}"
        yield credentials, MqttTransport([url], Login("alice-1", "secret"))
    finally:
        await broker.stop()


async def test_a_new_login_is_tried_until_the_broker_knows_it(tmp_path: Path) -> None:
    async with late_broker(tmp_path) as (credentials, transport):
        async with connected_with_new_login(transport, now_ms()) as connection:
            await connection.subscribe("v1/u/alice-1/#")
        assert credentials.asked >= 3


@pytest.mark.parametrize("age", [LOGIN_REACHES_MS, LOGIN_REACHES_MS + 1, -60_000])
async def test_a_login_that_is_no_longer_new_is_refused_at_once(tmp_path: Path, age: int) -> None:
    async with late_broker(tmp_path) as (credentials, transport):
        with pytest.raises(LoginRefusedError):
            async with connected_with_new_login(transport, now_ms() - age):
                pass
        assert credentials.asked == 1
