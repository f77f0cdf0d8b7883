"""A device that knows several addresses of its broker: the next one at once, the last one again."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from broker.embedded import EmbeddedBroker
from broker.settings import BrokerSettings
from client_sdk.stores.sqlite import SqliteStore
from client_sdk.transport.addresses import AddressMemory, spread
from client_sdk.transport.errors import (
    BrokerUnreachableError,
    ConnectionLostError,
    LoginRefusedError,
)
from client_sdk.transport.mqtt import Login, MqttTransport
from tests.brokers.memory_credentials import MemoryCredentials

SECRET = "secret"
NOBODY = "mqtt://127.0.0.1:1"


class Away:
    """An address that takes connections and ends them, and counts."""

    asked = 0

    def __init__(self) -> None:
        self.url = ""

    async def __call__(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked += 1
        writer.close()


@asynccontextmanager
async def away() -> AsyncIterator[Away]:
    found = Away()
    async with await asyncio.start_server(found, "127.0.0.1", 0) as server:
        found.url = f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield found


@asynccontextmanager
async def node(folder: Path, *logins: str) -> AsyncIterator[EmbeddedBroker]:
    credentials = MemoryCredentials(dict.fromkeys(logins, SECRET))
    broker = EmbeddedBroker(BrokerSettings(port=0, data_dir=folder), credentials)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()


def url_of(broker: EmbeddedBroker) -> str:
    return f"mqtt://127.0.0.1:{broker.port}"


LOGINS = [f"user{number}-1" for number in range(40)]


def beginning_at(url: str, urls: Sequence[str]) -> str:
    """Return a login that tries one of some addresses first."""
    return next(login for login in LOGINS if spread(urls, login)[0] == url)


def way(urls: Sequence[str], login: str, memory: AddressMemory | None = None) -> MqttTransport:
    return MqttTransport(urls, Login(login, SECRET), memory=memory)


async def use(transport: MqttTransport, login: str) -> None:
    async with transport.connect() as connection:
        await connection.subscribe(f"v1/u/{login}/#")


async def test_the_next_address_is_tried_when_one_fails_and_is_the_first_from_then_on(
    tmp_path: Path,
) -> None:
    async with away() as gone, node(tmp_path, *LOGINS) as broker:
        urls = [gone.url, url_of(broker)]
        login = beginning_at(gone.url, urls)
        transport = way(urls, login)
        for _ in range(3):
            await use(transport, login)
        assert gone.asked == 1


async def test_the_address_that_answered_is_remembered_in_the_devices_store(
    tmp_path: Path,
) -> None:
    store = SqliteStore.create(tmp_path / "device.db", None)
    async with away() as gone, node(tmp_path / "broker", *LOGINS) as broker:
        urls = [gone.url, url_of(broker)]
        login = beginning_at(gone.url, urls)
        for _ in range(2):  # two processes, one after the other
            await use(way(urls, login, store), login)
        assert gone.asked == 1
        assert await store.last_broker() == url_of(broker)
        await store.keep_last_broker("mqtt://no.longer.one.of.them")
        await use(way(urls, login, store), login)
        assert gone.asked == 2
    await store.close()


async def listen_to_the_end(transport: MqttTransport, broker: EmbeddedBroker) -> None:
    async with transport.connect() as connection:
        await broker.stop()
        async for _ in connection.incoming():
            pytest.fail("nothing was published")


async def test_a_broker_that_ends_is_left_for_the_other_one(tmp_path: Path) -> None:
    async with node(tmp_path / "other", *LOGINS) as other:
        async with node(tmp_path / "ending", *LOGINS) as ending:
            urls = [url_of(ending), url_of(other)]
            login = beginning_at(url_of(ending), urls)
            transport = way(urls, login)
            with pytest.raises(ConnectionLostError):
                await listen_to_the_end(transport, ending)
        await use(transport, login)


async def test_a_login_that_one_node_cannot_check_is_taken_at_another(tmp_path: Path) -> None:
    async with node(tmp_path / "knows", *LOGINS) as knows, node(tmp_path / "not") as forgetful:
        urls = [url_of(forgetful), url_of(knows)]
        login = beginning_at(url_of(forgetful), urls)
        await use(way(urls, login), login)


async def test_a_login_is_refused_when_no_address_takes_it(tmp_path: Path) -> None:
    async with node(tmp_path) as broker:
        for login in LOGINS[:2]:
            with pytest.raises(LoginRefusedError):
                await use(way([NOBODY, url_of(broker)], login), login)
    with pytest.raises(BrokerUnreachableError):
        await use(way([NOBODY, url_of(broker)], LOGINS[0]), LOGINS[0])
