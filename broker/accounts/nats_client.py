"""As much of the NATS protocol as the answers to logins need: publish, subscribe, request."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from broker.settings import LOOPBACK
from client_sdk.wire.errors import OperationalError

ANSWER_SECONDS: Final = 2.0
"""What NATS answers by itself, it answers within milliseconds."""

OLDEST_SERVER: Final = (2, 12, 6)
"""Older ones let one login take another's session (CVE-2026-33215)."""

MAX_LINE_BYTES: Final = 64 * 1024
MAX_PAYLOAD_BYTES: Final = 8 * 1024 * 1024
"""A list of connections is long."""


class NatsError(OperationalError):
    """The connection to nats-server failed or ended; it is made again."""

    code = "nats"


@dataclass(frozen=True, slots=True)
class NatsLogin:
    """Where nats-server listens on this machine, and as whom to log in."""

    port: int
    user: str
    password: str = field(repr=False)


Handler = Callable[[bytes, str], None]
"""Takes a payload and the subject for its answer."""


class NatsConnection:
    """One connection; ``connected`` makes and ends it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak on an open socket."""
        self._reader = reader
        self._writer = writer
        self._handlers: dict[str, Handler] = {}
        self._pongs: list[asyncio.Future[None]] = []
        self._inbox = f"_INBOX.{secrets.token_hex(16)}"
        self._numbers = 0

    async def log_in(self, login: NatsLogin) -> None:
        """Log in; raises NatsError where that is refused, or the server is too old."""
        info = await self._reader.readline()
        if not info.startswith(b"INFO "):
            raise NatsError(f"port {login.port} does not speak NATS; check nats_port")
        version = _version(info)
        if version < OLDEST_SERVER:
            have, need = (".".join(map(str, one)) for one in (version, OLDEST_SERVER))
            raise NatsError(
                f"nats-server on port {login.port} is {have}; {need} or newer is needed"
            )
        options = {
            "user": login.user,
            "pass": login.password,
            "verbose": False,
            "pedantic": False,
            "headers": False,
            "lang": "ratchetmq",
            "version": "1",
            "protocol": 1,
        }
        self._writer.write(b"CONNECT " + json.dumps(options).encode() + b"\r\nPING\r\n")
        while (line := (await self._reader.readline()).strip()) != b"PONG":
            if not line or line.startswith(b"-ERR"):
                told = line.decode(errors="replace") or "it closed the connection"
                raise NatsError(f"nats-server refused the login of this program: {told}")

    def subscribe(self, subject: str, handler: Handler, queue: str = "") -> None:
        """Hand what arrives under a subject to ``handler``, on the event loop."""
        self._numbers += 1
        number = str(self._numbers)
        self._handlers[number] = handler
        self._writer.write(f"SUB {subject} {queue} {number}\r\n".encode())

    def publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Send a payload."""
        head = f"PUB {subject} {reply} {len(payload)}\r\n".encode()
        self._writer.write(head + payload + b"\r\n")

    async def flush(self) -> None:
        """Return when the server has taken all that was sent."""
        pong = asyncio.get_running_loop().create_future()
        self._pongs.append(pong)
        self._writer.write(b"PING\r\n")
        async with asyncio.timeout(ANSWER_SECONDS):
            await pong

    async def request(self, subject: str, payload: bytes) -> bytes:
        """Return the first answer; TimeoutError where none comes."""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def take(data: bytes, _reply: str) -> None:
            if not answer.done():
                answer.set_result(data)

        self._numbers += 1
        subject_of_answer = f"{self._inbox}.{self._numbers}"
        self.subscribe(subject_of_answer, take)
        number = str(self._numbers)
        try:
            self.publish(subject, payload, subject_of_answer)
            async with asyncio.timeout(ANSWER_SECONDS):
                return await answer
        finally:
            self._handlers.pop(number, None)
            self._writer.write(f"UNSUB {number}\r\n".encode())

    async def gather(
        self, subject: str, payload: bytes, seconds: float, expected: int = 0
    ) -> list[bytes]:
        """Return the answers that come within a time of the first one.

        Args:
            subject: Where every server answers.
            payload: What is asked.
            seconds: How long to wait for the others; a busy server may be late with the first.
            expected: How many answers are enough; 0 is unknown.
        """
        found: list[bytes] = []
        begun, complete = asyncio.Event(), asyncio.Event()

        def take(data: bytes, _reply: str) -> None:
            found.append(data)
            begun.set()
            if len(found) == expected:
                complete.set()

        self._numbers += 1
        subject_of_answer = f"{self._inbox}.{self._numbers}"
        self.subscribe(subject_of_answer, take)
        number = str(self._numbers)
        try:
            self.publish(subject, payload, subject_of_answer)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(seconds, ANSWER_SECONDS)):
                    await begun.wait()
                async with asyncio.timeout(seconds):
                    await complete.wait()
        finally:
            self._handlers.pop(number, None)
            self._writer.write(f"UNSUB {number}\r\n".encode())
        return found

    async def read(self) -> None:
        """Hand on what arrives until the connection ends; raises NatsError then."""
        while line := await self._reader.readline():
            kind, _, rest = line.strip().partition(b" ")
            match kind.upper():
                case b"MSG":
                    await self._message(rest.decode().split())
                case b"PING":
                    self._writer.write(b"PONG\r\n")
                case b"PONG":
                    if self._pongs and not (pong := self._pongs.pop(0)).done():
                        pong.set_result(None)
                case b"-ERR":
                    raise NatsError(f"nats-server says {rest.decode(errors='replace')}")
                case _:
                    continue  # INFO of a change in the cluster
        raise NatsError("the connection to nats-server ended")

    async def _message(self, words: list[str]) -> None:
        size, reply = int(words[-1]), words[2] if len(words) == 4 else ""
        if size > MAX_PAYLOAD_BYTES:
            raise NatsError(f"nats-server sent {size} bytes at once")
        payload = (await self._reader.readexactly(size + 2))[:size]
        handler = self._handlers.get(words[1])
        if handler is not None:
            handler(payload, reply)


@asynccontextmanager
async def connected(login: NatsLogin) -> AsyncIterator[NatsConnection]:
    """Yield a connection that reads meanwhile.

    Raises:
        NatsError: It cannot be made, or it ended; what ran inside was cancelled.
    """
    try:
        reader, writer = await asyncio.open_connection(LOOPBACK, login.port, limit=MAX_LINE_BYTES)
    except OSError as error:
        raise NatsError(f"nats-server does not answer on port {login.port}") from error
    try:
        connection = NatsConnection(reader, writer)
        async with asyncio.timeout(ANSWER_SECONDS):
            await connection.log_in(login)
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(connection.read())
            yield connection
            reading.cancel()
    except* (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError, NatsError) as errors:
        raise NatsError(_first(errors)) from None
    finally:
        writer.close()


def _first(errors: BaseException) -> str:
    while isinstance(errors, BaseExceptionGroup):
        errors = errors.exceptions[0]
    known = isinstance(errors, NatsError)
    return str(errors) if known else f"the connection to nats-server failed ({errors!r})"


def _version(info: bytes) -> tuple[int, ...]:
    try:
        told = str(json.loads(info[5:])["version"])
        return tuple(int(part) for part in told.split("-", maxsplit=1)[0].split("."))
    except (ValueError, KeyError, TypeError) as error:
        raise NatsError("nats-server does not tell its version; check nats_port") from error
