"""The login of one socket: its CONNECT, asked of amqtt's plugins, answered with a CONNACK."""

import asyncio
import secrets
from typing import NamedTuple

from amqtt.plugins.manager import PluginManager
from amqtt.session import Session

from broker.access import Access
from broker.auth import IDENTITY, Identity
from broker.connect import ACCEPTED, NOT_AUTHORIZED, Connect, ConnectRefusedError, parse_connect
from broker.limits import BrokerLimits
from broker.link import Link
from broker.login_failures import LoginFailures
from broker.logs import get_logger
from broker.packets import encode_connack
from broker.ports import Credentials
from broker.statistics import Statistics
from client_sdk.wire.errors import ProtocolError

_CLIENT_ID_BYTES = 16
_log = get_logger(__name__)


class Admitted(NamedTuple):
    """Who may go on: the key of its connection, who it is, and what its CONNECT asked for."""

    client_id: str
    identity: Identity
    connect: Connect


class LoginDesk:
    """Decides whether a socket may go on; it looks nothing up before it knows who asks."""

    def __init__(
        self,
        plugins: PluginManager,
        credentials: Credentials,
        access: Access,
        limits: BrokerLimits,
        statistics: Statistics,
    ) -> None:
        """Start with nobody having failed."""
        self._plugins = plugins
        self._credentials = credentials
        self._access = access
        self._limits = limits
        self._statistics = statistics
        self._failures = LoginFailures(limits.login_failures, limits.login_failure_seconds)

    async def admit(self, link: Link, body: bytes) -> Admitted | None:
        """Return who may go on; None where the socket was answered and closed, or just closed."""
        try:
            connect = parse_connect(body)
        except ConnectRefusedError as error:
            self._refuse(link, error.connack, "protocol")
            return None
        except ProtocolError as error:
            link.drop(error.code)
            return None
        now = asyncio.get_running_loop().time()
        pair = (link.host, connect.username or "")
        session = _session(link, connect)
        verdicts = await self._plugins.map_plugin_auth(session=session)
        admitted = bool(verdicts) and all(verdicts.values()) and IDENTITY in session.attributes
        if not admitted or session.client_id is None:
            self._fail(link, pair, now)
            return None
        self._failures.succeeded(pair)
        identity = session.attributes[IDENTITY]
        if not self._may_stay(identity, connect):
            self._refuse(link, NOT_AUTHORIZED, "will")
            return None
        return Admitted(session.client_id, identity, connect)

    def _fail(self, link: Link, pair: tuple[str, str], now: float) -> None:
        """Answer a wrong login, but not one after another without an end.

        The right secret is looked at whatever failed before: clients behind one address share it.
        """
        if self._failures.exceeded(pair, now):
            self._statistics.refuse("too many failures")
            link.drop("too many failures")
        else:
            self._failures.failed(pair, now)
            self._refuse(link, NOT_AUTHORIZED, "login")

    def _may_stay(self, identity: Identity, connect: Connect) -> bool:
        login, secret_hash = identity
        if self._credentials.secret_hash(login) != secret_hash:
            return False
        will = connect.will
        if will is None:
            return True
        return self._limits.allow_topic(will.topic) and self._access.may_publish(login, will)

    def _refuse(self, link: Link, code: int, reason: str) -> None:
        self._statistics.refuse(reason)
        _log.info("login refused", reason=reason)
        link.send(encode_connack(code))
        link.finish(reason)


def accepted(*, session_present: bool) -> bytes:
    """Return the CONNACK of a login that succeeded."""
    return encode_connack(ACCEPTED, session_present=session_present)


class _LoginSession(Session):
    """What plugins are shown of a client; amqtt's own state machine of each costs half a login."""

    def __init__(self) -> None:
        self.attributes: dict[str, object] = {}


def _session(link: Link, connect: Connect) -> Session:
    session = _LoginSession()
    session.client_id = connect.client_id or secrets.token_urlsafe(_CLIENT_ID_BYTES)
    session.clean_session = connect.clean
    session.username, session.password = connect.username, connect.password
    session.remote_address = link.host
    session.ssl_object = link.ssl_object
    session.keep_alive = connect.keep_alive
    return session
