"""The running directory: connected, or on the way to be; it leaves no request unanswered."""

import asyncio
import random
from collections.abc import Callable
from typing import Final

from client_sdk.ending import end
from client_sdk.transport.backoff import reconnect_delay
from client_sdk.transport.errors import TransportError
from client_sdk.transport.ports import Transport
from keydir.config import DirectorySettings
from keydir.data import running_lock
from keydir.desk import Desk
from keydir.logs import get_logger
from keydir.prepare import prepare_directory
from keydir.session import Session
from keydir.stores.opening import open_store

LEAVE_SECONDS: Final = 5.0
"""How long a replica that ends takes at most to hand over."""

_log = get_logger(__name__)


class KeyDirectory:
    """A key directory on one data folder and one broker, or one replica of it.

    Example:
        settings = DirectorySettings(data_dir=folder)
        prepared = prepare_directory(settings)
        transport = MqttTransport(broker_urls, prepared.login)
        await KeyDirectory(settings, transport).run()
    """

    def __init__(self, settings: DirectorySettings, transport: Transport) -> None:
        """Prepare; nothing is opened before ``run``.

        Args:
            settings: Where its state is, and which replica it is.
            transport: The way to the broker under its login.
        """
        self._settings = settings
        self._transport = transport
        self.dropped = 0
        """Messages dropped without an answer since the start: malformed, forged or too many."""

    async def run(self, ready: Callable[[], None] | None = None) -> None:
        """Serve until cancelled; a broker that is away is waited for.

        A replica that is cancelled hands over to the others first, which takes a second.

        Args:
            ready: Called whenever requests are being read, also after each reconnection.

        Raises:
            DataDirectoryError: The folder cannot be used, or another directory runs there.
            DirectoryStoreError: The database cannot be opened, or a newer program wrote it.
            PolicyError: The policy does not hold for the accounts.
        """
        settings = self._settings
        prepared = await asyncio.to_thread(prepare_directory, settings)
        with running_lock(settings.data_dir, settings.replica):
            store = await asyncio.to_thread(open_store, prepared.database)
            try:
                desk = Desk(prepared.keys, prepared.policy, store)
                session = Session(desk, settings, self._drop)
                serving = asyncio.create_task(self._keep_connected(session, ready or _nothing))
                try:
                    await asyncio.wait({serving})
                except asyncio.CancelledError:
                    await _hand_over(session)
                    raise
                finally:
                    await end(serving)
                await serving
            finally:
                store.close()

    async def _keep_connected(self, session: Session, ready: Callable[[], None]) -> None:
        failures = 0

        def connected() -> None:
            nonlocal failures
            failures = 0
            ready()

        while True:
            try:
                async with self._transport.connect() as connection:
                    await session.serve(connection, connected)
            except* TransportError as errors:
                codes = sorted({_code(error) for error in errors.exceptions})
                brokers = ",".join(self._settings.broker_urls)
                _log.warning("disconnected", codes=codes, failures=failures, brokers=brokers)
            jitter = random.random()  # noqa: S311 - spreads reconnections, keeps no secret
            await asyncio.sleep(reconnect_delay(failures, jitter))
            failures += 1

    def _drop(self) -> None:
        self.dropped += 1


async def _hand_over(session: Session) -> None:
    try:
        async with asyncio.timeout(LEAVE_SECONDS):
            await session.leave()
    except TimeoutError:
        _log.warning("left requests to the other replicas")


def _nothing() -> None:
    pass


def _code(error: BaseException) -> str:
    return error.code if isinstance(error, TransportError) else "several"
