"""Logins of NATS: answered as they come, and ended by the system account."""

import asyncio
import json
from collections.abc import Iterator, MutableMapping
from typing import Any, Final, NamedTuple

from broker.accounts.nats_client import NatsConnection, NatsError, NatsLogin, connected
from broker.accounts.ports import StoredLogins
from broker.accounts.responder import Responder
from broker.logs import get_logger
from client_sdk.wire.errors import MalformedError
from keydir.stores.credentials import StoredLogin

LOGIN_SUBJECT: Final = "$SYS.REQ.USER.AUTH"
CONNECTIONS_SUBJECT: Final = "$SYS.REQ.SERVER.PING.CONNZ"
QUEUE: Final = "accounts"
"""Of several processes that answer, one answers each login."""

GATHER_SECONDS: Final = 0.25
"""In which all servers of a cluster tell their connections, once one of them has."""

PAGE: Final = 1024
RETRY_SECONDS: Final = 0.5

_log = get_logger(__name__)


async def answer_logins(login: NatsLogin, responder: Responder) -> None:
    """Answer logins until cancelled; a server that is away is waited for, which is told once."""
    told = ""
    while True:
        try:
            async with connected(login) as connection:
                connection.subscribe(
                    LOGIN_SUBJECT,
                    lambda data, reply: _answer(connection, responder, data, reply),
                    QUEUE,
                )
                await connection.flush()
                told = ""
                _log.debug("answering logins")
                await asyncio.Event().wait()
        except NatsError as error:
            if str(error) != told:
                told = str(error)
                _log.warning("logins are not answered", reason=told)
        await asyncio.sleep(RETRY_SECONDS)


def _answer(connection: NatsConnection, responder: Responder, data: bytes, reply: str) -> None:
    try:
        connection.publish(reply, responder.answer(data))
    except MalformedError as error:
        _log.warning("not a login", code=error.code, size=len(data))
    except Exception:  # noqa: BLE001 - a bug in one answer is logged, the others go on
        _log.exception("a login failed", size=len(data))


class NatsAccounts:
    """Ends connections that the directory's table no longer allows; the responder refuses new ones.

    All connections are compared: one that was let in and revoked within a moment is found, too.
    """

    def __init__(
        self, login: NatsLogin, stored: StoredLogins, admitted: MutableMapping[str, bytes]
    ) -> None:
        """Use the system account.

        Args:
            login: Of the system user.
            stored: The table that the responder reads.
            admitted: What the responder notes of each login that it lets in.
        """
        self._login = login
        self._stored = stored
        self._admitted = admitted
        self._loaded: dict[str, bytes] = {}

    async def put(self, login: str, stored: StoredLogin) -> None:
        """Note it for ``settle``, see ``Accounts``: the responder reads the same table."""
        self._loaded[login] = stored.secret_hash

    async def revoke(self, login: str) -> None:
        """Note it for ``settle``, see ``Accounts``: the responder refuses it already."""
        self._loaded.pop(login, None)

    async def settle(self) -> None:
        """Drop every connection of a login that was revoked or changed, see ``Accounts``.

        Raises:
            NatsError: The server cannot be told.
        """
        async with connected(self._login) as connection:
            for one in await _connections(connection):
                if self._is_admitted(one.login, self._loaded.get(one.login)):
                    continue
                # Made since the table was loaded, or gone: only then the table is asked again, and
                # not by the event loop, which answers logins meanwhile.
                known = await asyncio.to_thread(self._stored.secret_hash, one.login)
                if not self._is_admitted(one.login, known):
                    self._admitted.pop(one.login, None)
                    await _drop(connection, one)

    def _is_admitted(self, login: str, known: bytes | None) -> bool:
        return known is not None and self._admitted.get(login, known) == known


class _Connected(NamedTuple):
    server: str
    number: int
    login: str


async def _connections(connection: NatsConnection) -> list[_Connected]:
    """Return every MQTT connection of all servers; NatsError where none of them tells."""
    found: list[_Connected] = []
    offset, servers = 0, 0
    while True:
        asked = json.dumps({"limit": PAGE, "offset": offset}).encode()
        answers = await connection.gather(CONNECTIONS_SUBJECT, asked, GATHER_SECONDS, servers)
        if not answers:
            raise NatsError("nats-server did not tell its connections in time")
        servers = len(answers)
        pages = [json.loads(answer) for answer in answers]
        sizes = [len(page["data"].get("connections") or []) for page in pages]
        found += [one for page in pages for one in _page(page)]
        if all(size < PAGE for size in sizes):
            return found
        offset += PAGE


def _page(told: dict[str, Any]) -> Iterator[_Connected]:
    for one in told["data"].get("connections") or []:
        if login := one.get("mqtt_client"):
            yield _Connected(str(told["server"]["id"]), int(one["cid"]), str(login))


async def _drop(connection: NatsConnection, one: _Connected) -> None:
    subject = f"$SYS.REQ.SERVER.{one.server}.KICK"
    await connection.request(subject, json.dumps({"cid": one.number}).encode())
