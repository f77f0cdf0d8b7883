"""The running directory: one connection, senders in turn, answers published as they come."""

import asyncio
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from client_sdk.ending import end
from client_sdk.transport.backoff import reconnect_delay
from client_sdk.transport.errors import ConnectionLostError, TransportError
from client_sdk.transport.ports import Connection, Incoming, Transport
from client_sdk.wire import topics
from client_sdk.wire.bundle import DAY_MS
from client_sdk.wire.errors import ProtocolError
from client_sdk.wire.ids import DeviceAddress
from keydir.config import DirectorySettings
from keydir.data import running_lock
from keydir.desk import Desk, Outgoing, wall_ms
from keydir.enrollment import Enrollment
from keydir.errors import DirectoryStoreError
from keydir.logs import get_logger
from keydir.ports import DirectoryStore
from keydir.prepare import prepare_directory
from keydir.requests import Requests
from keydir.stores.sql import SqlDirectoryStore
from keydir.sweep import Sweeper
from keydir.waiting import ENROLLMENTS_PREFIX, REQUESTS_PREFIX, Waiting

MAX_WAITING_ANSWERS: Final = 1000
"""Answers that wait to be published; with more, no further request is looked into."""

PUBLISHERS: Final = 16
"""Answers that wait for the broker's acknowledgement at the same time."""

_log = get_logger(__name__)
Result = TypeVar("Result")


class KeyDirectory:
    """A key directory on one data folder and one broker.

    Example:
        settings = DirectorySettings(data_dir=folder)
        prepared = prepare_directory(settings)
        transport = MqttTransport(broker_urls, prepared.login)
        await KeyDirectory(settings, transport).run()
    """

    def __init__(self, settings: DirectorySettings, transport: Transport) -> None:
        """Prepare; nothing is opened before ``run``.

        Args:
            settings: Where its state is.
            transport: The way to the broker under the login ``_kd``.
        """
        self._settings = settings
        self._transport = transport
        self.dropped = 0
        """Messages dropped without an answer since the start: malformed, forged or too many."""

    async def run(self, ready: Callable[[], None] | None = None) -> None:
        """Serve until cancelled; a broker that is away is waited for.

        Args:
            ready: Called whenever requests are being read, also after each reconnection.

        Raises:
            DataDirectoryError: The folder cannot be used, or another directory runs there.
            DirectoryStoreError: The database cannot be opened, or a newer program wrote it.
            PolicyError: The policy does not hold for the accounts.
        """
        prepared = await asyncio.to_thread(prepare_directory, self._settings)
        with running_lock(self._settings.data_dir):
            store = SqlDirectoryStore(prepared.database_path)
            try:
                # The thread ends before the store is closed: a cancelled step is still in it.
                with ThreadPoolExecutor(1, "keydir") as thread:
                    desk = Desk(prepared.keys, prepared.policy, store)
                    session = _Session(desk, thread, self._settings, self._drop)
                    serving = asyncio.create_task(self._keep_connected(session, ready or _nothing))
                    try:
                        await asyncio.wait({serving})
                    finally:
                        await end(serving)
                    await serving
            finally:
                store.close()

    async def _keep_connected(self, session: "_Session", ready: Callable[[], None]) -> None:
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
                _log.warning("disconnected", codes=codes, failures=failures)
            jitter = random.random()  # noqa: S311 - spreads reconnections, keeps no secret
            await asyncio.sleep(reconnect_delay(failures, jitter))
            failures += 1

    def _drop(self) -> None:
        self.dropped += 1


class _Session:
    def __init__(
        self,
        desk: Desk,
        thread: ThreadPoolExecutor,
        settings: DirectorySettings,
        drop: Callable[[], None],
    ) -> None:
        self._requests = Requests(desk)
        self._enrollment = Enrollment(desk)
        self._thread = thread
        self._settings = settings
        self._drop = drop
        self._records = _Records(desk.store, thread)
        self._waiting = Waiting()

    async def serve(self, connection: Connection, ready: Callable[[], None]) -> None:
        sweeper = Sweeper(connection, self._records, self._settings.quiet_seconds)
        answers: asyncio.Queue[Outgoing] = asyncio.Queue(MAX_WAITING_ANSWERS)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read(connection, sweeper))
            group.create_task(self._work(answers))
            for _ in range(PUBLISHERS):
                group.create_task(_publish(connection, answers))
            await connection.subscribe(topics.DIRECTORY_REQUESTS, topics.ENROLLMENT_REQUESTS)
            ready()
            group.create_task(self._sweep(sweeper))

    async def _read(self, connection: Connection, sweeper: Sweeper) -> None:
        # Nothing is awaited and no payload looked into here: the connection's queue has no bound.
        async for message in connection.incoming():
            if not message.topic.startswith((REQUESTS_PREFIX, ENROLLMENTS_PREFIX)):
                sweeper.found(message)
            # No request is ever published retained: a kept one would come back at every start.
            elif message.retained or not self._waiting.add(message):
                self._drop()
        raise ConnectionLostError("the connection to the broker ended")

    async def _work(self, answers: asyncio.Queue[Outgoing]) -> None:
        while True:
            for answer in await self._answer(await self._waiting.take()):
                await answers.put(answer)

    async def _answer(self, message: Incoming) -> Sequence[Outgoing]:
        try:
            return await _in_thread(self._thread, lambda: self._answer_now(message))
        except ProtocolError as error:
            self._drop()
            _log.debug("dropped", code=error.code, size=len(message.payload))
        except DirectoryStoreError as error:
            _log.warning("store failed", reason=str(error))
        except Exception:  # noqa: BLE001 - a bug in one answer is logged, the others go on
            _log.exception("a request failed", size=len(message.payload))
        return ()

    def _answer_now(self, message: Incoming) -> Sequence[Outgoing]:
        if message.topic.startswith(ENROLLMENTS_PREFIX):
            return self._enrollment.answer(message.topic, message.payload)
        return self._requests.answer(message.topic, message.payload)

    async def _sweep(self, sweeper: Sweeper) -> None:
        while True:
            try:
                await sweeper.look()
            except DirectoryStoreError as error:
                _log.warning("sweep postponed", reason=str(error))
            await asyncio.sleep(self._settings.poll_seconds)


class _Records:
    def __init__(self, store: DirectoryStore, thread: ThreadPoolExecutor) -> None:
        self._store = store
        self._thread = thread

    async def unswept(self) -> Sequence[DeviceAddress]:
        return await _in_thread(self._thread, self._unswept)

    async def note_sweep(self, addresses: Sequence[DeviceAddress]) -> None:
        await _in_thread(self._thread, lambda: self._note_sweep(addresses))

    def _unswept(self) -> Sequence[DeviceAddress]:
        with self._store.transaction() as transaction:
            return transaction.accounts.unswept(wall_ms() - DAY_MS)

    def _note_sweep(self, addresses: Sequence[DeviceAddress]) -> None:
        with self._store.transaction() as transaction:
            for address in addresses:
                transaction.accounts.note_sweep(address, wall_ms())


async def _in_thread(thread: ThreadPoolExecutor, step: Callable[[], Result]) -> Result:
    return await asyncio.get_running_loop().run_in_executor(thread, step)


async def _publish(connection: Connection, answers: asyncio.Queue[Outgoing]) -> None:
    while True:
        answer = await answers.get()
        await connection.publish(answer.topic, answer.payload, retain=answer.retain)


def _nothing() -> None:
    pass


def _code(error: BaseException) -> str:
    return error.code if isinstance(error, TransportError) else "several"
