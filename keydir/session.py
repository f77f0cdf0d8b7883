"""One connection's work: requests are read, looked into and answered."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from client_sdk.transport.errors import ConnectionLostError, TransportError
from client_sdk.transport.ports import Connection, Incoming
from client_sdk.wire import topics
from client_sdk.wire.errors import MalformedError, ProtocolError
from keydir.config import DirectorySettings
from keydir.desk import Desk, Outgoing, steady_ms
from keydir.enrollment import Enrollment
from keydir.errors import DirectoryStoreError
from keydir.logs import get_logger
from keydir.replicas import BEAT_SECONDS, HANDOVER_SECONDS, Replicas
from keydir.requests import Requests
from keydir.rounds import Rounds
from keydir.sweep import Sweeper
from keydir.waiting import ENROLLMENTS_PREFIX, REQUESTS_PREFIX, Waiting, sender_of

MAX_WAITING_ANSWERS: Final = 1000
"""Answers that wait to be published; with more, no further request is looked into."""

PUBLISHERS: Final = 16
"""Answers that wait for the broker's acknowledgement at the same time."""

DRAINED_SECONDS: Final = 0.01
"""How often a replica that leaves looks whether it has answered all."""

_log = get_logger(__name__)


class Session:
    """What outlives a connection: what waits, and who else answers."""

    def __init__(self, desk: Desk, settings: DirectorySettings, drop: Callable[[], None]) -> None:
        """Use the directory's desk; ``drop`` is called for each message that gets no answer."""
        self._requests = Requests(desk)
        self._enrollment = Enrollment(desk)
        self._store = desk.store
        self._settings = settings
        self._drop = drop
        self._waiting = Waiting()
        self._replicas = Replicas(settings.login_name)
        self._rounds = Rounds(desk.store, self._replicas, settings.login_name)
        self._filters = _filters(shared=settings.shared_subscriptions)
        self._connection: Connection | None = None
        self._unpublished = 0

    async def serve(self, connection: Connection, ready: Callable[[], None]) -> None:
        """Answer requests over one connection.

        Raises:
            TransportError: It ended; several at once come as a group.
        """
        sweeper = Sweeper(connection, self._rounds, self._settings.quiet_seconds)
        answers: asyncio.Queue[Outgoing] = asyncio.Queue(MAX_WAITING_ANSWERS)
        self._unpublished = 0
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read(connection, sweeper))
            for _ in range(self._store.concurrency):
                group.create_task(self._work(answers))
            for _ in range(PUBLISHERS):
                group.create_task(self._publish(connection, answers))
            await connection.subscribe(*self._filters)
            self._connection = connection
            if self._settings.replica is not None:
                await self._beat()
                group.create_task(self._keep_beating())
            ready()
            group.create_task(self._go_round(sweeper))

    async def leave(self) -> None:
        """Hand over to the other replicas, if there are any, and answer what came before."""
        connection = self._connection  # it may end meanwhile
        if self._settings.replica is None or connection is None:
            return
        try:
            await self._rounds.leave()
        except DirectoryStoreError as error:
            _log.warning("others learn late that this one left", reason=str(error))
        if not self._settings.shared_subscriptions:
            await asyncio.sleep(HANDOVER_SECONDS)
        with suppress(TransportError):
            await connection.unsubscribe(*self._filters)
        while self._unpublished or not self._waiting.idle:  # noqa: ASYNC110 - bounded by its caller
            await asyncio.sleep(DRAINED_SECONDS)

    async def _read(self, connection: Connection, sweeper: Sweeper) -> None:
        # Nothing is awaited and no payload looked into here: the connection's queue has no bound.
        try:
            async for message in connection.incoming():
                if not message.topic.startswith((REQUESTS_PREFIX, ENROLLMENTS_PREFIX)):
                    sweeper.found(message)
                elif self._is_for_me(message) and not self._waiting.add(message):
                    self._drop()
        finally:
            self._connection = None
        raise ConnectionLostError("the connection to the broker ended")

    def _is_for_me(self, message: Incoming) -> bool:
        # No request is ever published retained: a kept one would come back at every start.
        try:
            sender = sender_of(message.topic)
        except MalformedError:
            sender = None
        if sender is None or message.retained:
            self._drop()
            return False
        return self._settings.shared_subscriptions or self._replicas.takes(sender, message.topic)

    async def _work(self, answers: asyncio.Queue[Outgoing]) -> None:
        while True:
            message = await self._waiting.take()
            try:
                for answer in await self._answer(message):
                    self._unpublished += 1
                    await answers.put(answer)
            finally:
                self._waiting.done(message)

    async def _answer(self, message: Incoming) -> Sequence[Outgoing]:
        try:
            answering = self._store.submit(lambda: self._answer_now(message))
            return await asyncio.wrap_future(answering)
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

    async def _publish(self, connection: Connection, answers: asyncio.Queue[Outgoing]) -> None:
        while True:
            answer = await answers.get()
            await connection.publish(answer.topic, answer.payload, retain=answer.retain)
            self._unpublished -= 1

    async def _keep_beating(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            await self._beat()

    async def _beat(self) -> None:
        try:
            await self._rounds.beat(steady_ms())
        except DirectoryStoreError as error:
            _log.warning("no sign of life", reason=str(error))

    async def _go_round(self, sweeper: Sweeper) -> None:
        while True:
            try:
                await self._rounds.forget_old()
                await sweeper.look()
            except DirectoryStoreError as error:
                _log.warning("sweep postponed", reason=str(error))
            await asyncio.sleep(self._settings.poll_seconds)


def _filters(*, shared: bool) -> tuple[str, str]:
    group = topics.SHARED_GROUP if shared else ""
    return group + topics.DIRECTORY_REQUESTS, group + topics.ENROLLMENT_REQUESTS
