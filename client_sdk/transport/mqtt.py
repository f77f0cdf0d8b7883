"""MQTT 3.1.1 through aiomqtt: clean sessions, QoS 1 out, QoS 0 in, TCP_NODELAY."""

import asyncio
import logging
import math
import socket
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import aiomqtt
from paho.mqtt.client import (
    CONNACK_REFUSED_BAD_USERNAME_PASSWORD,
    CONNACK_REFUSED_NOT_AUTHORIZED,
    Client,
)

from client_sdk.transport.addresses import Addresses, AddressMemory
from client_sdk.transport.errors import (
    BrokerNotTrustedError,
    BrokerSilentError,
    BrokerUnreachableError,
    ConnectionLostError,
    LoginRefusedError,
    SubscriptionRefusedError,
    TransportError,
)
from client_sdk.transport.ports import Connection, Incoming
from client_sdk.transport.tls import CaPin
from client_sdk.transport.trust import Trust
from client_sdk.transport.urls import BrokerAddress, usable_urls

KEEPALIVE_SECONDS: Final = 30
ANSWER_TIMEOUT_SECONDS: Final = 10.0
MAX_IN_FLIGHT: Final = 100
"""Unacknowledged publishes; a window of 20 already fills every measured broker."""

MAX_ABANDONED: Final = MAX_IN_FLIGHT // 2
"""Publications given up before their acknowledgement; each takes a place of the window until the
connection ends, so that after this many a new one is made."""

SUBSCRIBE_QOS: Final = 0
"""The clear acknowledges a message; what a slow connection drops comes with the next resync."""

SILENT_SECONDS: Final = 1.0
"""A broker that works acknowledges within milliseconds."""

REFUSED_SUBSCRIPTION: Final = 0x80
_REFUSED_LOGIN: Final = {
    CONNACK_REFUSED_BAD_USERNAME_PASSWORD,
    CONNACK_REFUSED_NOT_AUTHORIZED,
    134,  # what paho makes of 4 and 5 in its own numbering
    135,
}
_NO_DELAY: Final = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)

_logger = logging.getLogger(__name__)
_paho_logger = logging.getLogger(__name__ + ".aiomqtt")
# What it says of lost connections is raised as an error, and healed by connecting again.
_paho_logger.setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class Login:
    """An MQTT login; the client id is the user name, so one login is one connection."""

    username: str
    password: str = field(repr=False)


class MqttTransport:
    """The way to one broker; one address after the other is tried, see ``Addresses``."""

    def __init__(
        self,
        urls: Sequence[str],
        login: Login,
        pin: CaPin | None = None,
        memory: AddressMemory | None = None,
    ) -> None:
        """Keep addresses and login; nothing is opened yet.

        Args:
            urls: Addresses of one broker, of any schemes; see ``usable_urls``.
            login: Whose connection it is.
            pin: The private CA that alone is trusted; None trusts the system's authorities.
            memory: Keeps which address answered last, beyond the life of the process.

        Raises:
            InvalidBrokerUrlError: A URL is no broker address, or there is none.
            UnencryptedBrokerError: There is a pin, and no address can be used under it.
        """
        usable = usable_urls(urls, pinned=pin is not None)
        self._addresses = Addresses(usable, login.username, memory)
        self._login = login
        self._trust = Trust(pin)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Connection]:
        """Open one connection, see ``Transport``."""
        url, client = await self._open()
        try:
            await self._addresses.answered(url)
            yield MqttConnection(client)
        finally:
            try:
                async with _answer_in_time():
                    await client.__aexit__(None, None, None)
            except aiomqtt.MqttError as error:
                _logger.debug("closing: %s", error)

    async def _open(self) -> tuple[str, aiomqtt.Client]:
        failures: list[TransportError] = []
        for url, address in await self._addresses.in_turn():
            try:
                return url, await self._open_at(address)
            except TransportError as error:
                failures.append(error)
        # What a broker said tells more than that others did not answer.
        for kind in (LoginRefusedError, BrokerNotTrustedError):
            for failure in failures:
                if isinstance(failure, kind):
                    raise failure
        raise BrokerUnreachableError(
            f"no broker answers at {self._addresses}: start it, or check the address"
        ) from failures[-1]

    async def _open_at(self, address: BrokerAddress) -> aiomqtt.Client:
        try:
            async with _answer_in_time():
                context = await self._trust.context(address)
                return await _entered(_client(address, self._login, context))
        except (aiomqtt.MqttError, OSError, UnicodeError) as error:
            if isinstance(error, aiomqtt.MqttCodeError) and _code(error) in _REFUSED_LOGIN:
                raise LoginRefusedError(
                    "the broker refused this login: it was revoked or never valid, or the "
                    "server cannot check logins now; nothing was changed"
                ) from error
            raise BrokerUnreachableError(f"no broker answers at {address.authority}") from error


class MqttConnection:
    """One live aiomqtt connection, see ``Connection``."""

    def __init__(self, client: aiomqtt.Client) -> None:
        """Wrap a client that is connected."""
        self._client = client
        self._abandoned = 0
        self._unanswered: dict[object, float] = {}
        """When each publication left that was not acknowledged yet, the oldest first."""

    async def subscribe(self, *filters: str) -> None:
        """Subscribe at ``SUBSCRIBE_QOS``, see ``Connection``."""
        try:
            async with _answer_in_time():
                granted = await self._client.subscribe([(one, SUBSCRIBE_QOS) for one in filters])
        except aiomqtt.MqttError as error:
            raise ConnectionLostError("the broker did not answer a subscription") from error
        if any(_reason(code) >= REFUSED_SUBSCRIPTION for code in granted):
            raise SubscriptionRefusedError("the broker refused a subscription to one's own topics")

    async def unsubscribe(self, *filters: str) -> None:
        """End subscriptions, see ``Connection``."""
        try:
            async with _answer_in_time():
                await self._client.unsubscribe(list(filters))
        except aiomqtt.MqttError as error:
            raise ConnectionLostError("the broker did not answer an unsubscription") from error

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish at QoS 1, see ``Connection``."""
        if self._abandoned >= MAX_ABANDONED:
            raise ConnectionLostError("too many messages were never acknowledged")
        this = object()
        self._unanswered[this] = time.monotonic()
        try:
            async with _answer_in_time():
                await self._client.publish(topic, payload, qos=1, retain=retain)
        except aiomqtt.MqttError as error:
            raise ConnectionLostError("the broker did not acknowledge a message") from error
        except asyncio.CancelledError:
            self._abandoned += 1
            raise
        finally:
            del self._unanswered[this]

    async def incoming(self) -> AsyncIterator[Incoming]:
        """Yield what arrives, see ``Connection``."""
        arrived = self._client._queue  # noqa: SLF001 - its iterator cannot empty it at once
        try:
            async for message in self._client.messages:
                yield _incoming(message)
                # aiomqtt goes round the event loop for each message, and reads more meanwhile.
                while not arrived.empty():
                    yield _incoming(arrived.get_nowait())
        except aiomqtt.MqttError as error:
            oldest = next(iter(self._unanswered.values()), math.inf)
            if time.monotonic() - oldest >= SILENT_SECONDS:
                raise BrokerSilentError(
                    "the connection ended, and the broker had not answered for a while"
                ) from error
            raise ConnectionLostError("the connection to the broker ended") from error


@asynccontextmanager
async def _answer_in_time() -> AsyncIterator[None]:
    """Bound a wait for the broker; aiomqtt's own bound loses cancellations before Python 3.12.

    It rests on ``asyncio.wait_for``, which returns where it is cancelled in the moment of the
    answer: a publisher told to end went on waiting for its next message for ever.
    """
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
            yield
    except TimeoutError as error:
        raise aiomqtt.MqttError("the broker did not answer in time") from error


def _client(address: BrokerAddress, login: Login, context: ssl.SSLContext | None) -> aiomqtt.Client:
    client = aiomqtt.Client(
        address.host,
        address.port,
        username=login.username,
        password=login.password,
        identifier=login.username,
        logger=_paho_logger,
        protocol=aiomqtt.ProtocolVersion.V311,
        clean_session=True,
        timeout=math.inf,  # _answer_in_time bounds every wait
        keepalive=KEEPALIVE_SECONDS,
        max_inflight_messages=MAX_IN_FLIGHT,
        socket_options=_NO_DELAY,
        tls_context=context,
        transport="websockets" if address.websocket else "tcp",
        websocket_path=address.path or None,
        websocket_headers=lambda headers: _upgrade_headers(headers, address),
    )
    client.pending_calls_threshold = 10 * MAX_IN_FLIGHT
    # Where nobody waits for its end any more, the reason of it is no error of the program.
    client._disconnected.add_done_callback(_taken)  # noqa: SLF001 - aiomqtt leaves it unread
    return client


def _taken(ended: "asyncio.Future[None] | asyncio.Future[aiomqtt.Client]") -> None:
    if not ended.cancelled():
        ended.exception()


def _upgrade_headers(headers: dict[str, str], address: BrokerAddress) -> dict[str, str]:
    """Return the headers of an upgrade without the origin: only pages in browsers have one."""
    return {**{n: text for n, text in headers.items() if n != "Origin"}, "Host": address.authority}


async def _entered(client: aiomqtt.Client) -> aiomqtt.Client:
    """Connect; failing or cancelled, no socket and no task stay behind: aiomqtt leaves them."""
    paho = client._client  # noqa: SLF001 - aiomqtt can only end a connection that is up
    entering = asyncio.ensure_future(client.__aenter__())
    try:
        return await asyncio.shield(entering)
    except BaseException:
        entering.add_done_callback(lambda ended: _abandon(ended, paho))
        entering.cancel()
        if paho.socket() is None:  # a thread opens it and cannot be stopped: nobody will serve it
            paho.on_socket_open = None
            paho.on_socket_register_write = None
        raise


def _incoming(message: aiomqtt.Message) -> Incoming:
    payload = message.payload
    return Incoming(
        message.topic.value, payload if isinstance(payload, bytes) else b"", message.retain
    )


def _abandon(ended: "asyncio.Task[aiomqtt.Client]", paho: Client) -> None:
    _taken(ended)
    paho.on_disconnect = None
    paho.disconnect()


def _code(error: aiomqtt.MqttCodeError) -> int | None:
    return None if error.rc is None else _reason(error.rc)


def _reason(code: object) -> int:
    value = getattr(code, "value", code)
    return value if isinstance(value, int) else REFUSED_SUBSCRIPTION
