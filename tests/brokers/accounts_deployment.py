"""A running broker of each kind whose logins are those of a directory's table."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from broker.embedded import EmbeddedBroker
from broker.serve_other import Kept, keep_accounts
from broker.settings import BrokerSettings
from client_sdk.wire.verifier import stored_credential
from keydir.config import DirectorySettings
from keydir.prepare import prepare_directory
from keydir.stores.credentials import CredentialReader
from keydir.stores.sql import SqlDirectoryStore
from tests.brokers.other_brokers import deployed, made_settings, running
from tests.brokers.raw_client import RawClient

PROMISED_SECONDS = 5.0
SETUP_SECONDS = 60.0
"""For what a test only needs before it begins; the machine may be busy."""


@dataclass
class Deployment:
    """A running broker and the table of its directory."""

    port: int
    store: SqlDirectoryStore

    def enrol(self, login: str, secret: str) -> None:
        with self.store.transaction() as transaction:
            transaction.logins.put(login, stored_credential(secret), None)

    def revoke(self, login: str) -> None:
        with self.store.transaction() as transaction:
            transaction.logins.remove(login)

    async def connack(self, login: str, secret: str) -> int | None:
        client = await RawClient.open(self.port)
        code = await client.connect(login, login, secret)
        await client.close()
        return code

    async def admitted(self, login: str, secret: str, seconds: float = SETUP_SECONDS) -> RawClient:
        """Log in again and again until it works; TimeoutError where it does not in time."""
        async with asyncio.timeout(seconds):
            while True:
                client = await RawClient.open(self.port)
                if await client.connect(login, login, secret) == 0:
                    return client
                await client.close()
                await asyncio.sleep(0.1)


@contextmanager
def opened(data_dir: Path) -> Iterator[tuple[SqlDirectoryStore, CredentialReader]]:
    settings = DirectorySettings(data_dir=data_dir)
    prepare_directory(settings)
    store = SqlDirectoryStore(settings.database_path)
    with closing(store), closing(CredentialReader(settings.database_path)) as reader:
        yield store, reader


@asynccontextmanager
async def deployment(broker: str, folder: Path) -> AsyncIterator[Deployment]:
    data = folder / "data"
    async with AsyncExitStack() as stack:
        if broker == "embedded":
            store, reader = stack.enter_context(opened(data))
            embedded = EmbeddedBroker(BrokerSettings(data_dir=data, port=0), reader)
            await embedded.start()
            stack.push_async_callback(embedded.stop)
            yield Deployment(embedded.port, store)
            return
        settings = made_settings(broker, data)
        (config,) = deployed(settings, folder / "out")
        store, reader = stack.enter_context(opened(data))
        child = await stack.enter_async_context(running(settings, config))
        told = asyncio.Event()
        kept = Kept(settings, folder / "out", child.reload)
        keeping = asyncio.create_task(keep_accounts(kept, reader, told))
        stack.push_async_callback(ended, keeping)
        async with asyncio.timeout(SETUP_SECONDS):
            await told.wait()
        yield Deployment(settings.port, store)


async def ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait({task})
