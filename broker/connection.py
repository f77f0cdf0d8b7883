"""One authenticated client: what it is sent, within bounds, and how it is let go."""

import asyncio
from typing import Any, Final

from amqtt.mqtt.packet import MQTTPacket
from amqtt.mqtt.publish import PublishPacket
from amqtt.session import Session

from broker.acl import Publication
from broker.auth import identity_of
from broker.logs import get_logger

MAX_FILTERS: Final = 64
"""Subscriptions of one connection: a device has three, the directory a few for each sweep."""

MAX_UNSENT_BYTES: Final = 8 * 1024 * 1024
"""Bytes queued for one slow reader; past it live messages are skipped."""

MAX_UNACKNOWLEDGED: Final = 20_000
"""Deliveries at QoS 1 that one reader may leave unacknowledged; past it they are skipped."""

REPLAY_WINDOW: Final = 500
"""Unacknowledged deliveries above which the replay of waiting mail pauses."""

_KEEPALIVE_TOLERANCE: Final = 1.5
_MAX_PACKET_ID: Final = 65535
_log = get_logger(__name__)


class Connection:
    """The sending side and the state of one client that logged in."""

    def __init__(self, session: Session, writer: asyncio.StreamWriter) -> None:
        """Take over the socket of a session that was authenticated."""
        self.login, self.secret_hash = identity_of(session)
        self.filters: dict[str, int] = {}
        self.closed = False
        self.will = will_of(session)
        self._session = session
        self._writer = writer
        self._last_seen = asyncio.get_running_loop().time()
        self._packet_id = 0
        self._unacknowledged: set[int] = set()
        self._replays: dict[str, int] = {}
        self._wake = asyncio.Event()

    def send(self, packet: MQTTPacket[Any, Any, Any]) -> None:
        """Queue one packet of the protocol for the client."""
        if not self.closed:
            self._writer.write(packet.to_bytes())

    def deliver(self, message: Publication) -> None:
        """Queue one message; a reader that is too far behind is not sent it.

        What was skipped waits retained and comes with the next subscription, or is asked for
        again: nothing in the protocol rests on one delivery.
        """
        if self.closed:
            return
        if self.is_congested:
            _log.info("message skipped", login=self.login, bytes=len(message.payload))
            return
        packet_id = self._next_packet_id() if message.qos else None
        self.send(
            PublishPacket.build(
                message.topic,
                message.payload,
                packet_id,
                dup_flag=False,
                qos=message.qos,
                retain=message.retain,
            )
        )

    @property
    def is_congested(self) -> bool:
        """Whether the client is behind by more than the bounds allow."""
        unsent: int = self._writer.transport.get_write_buffer_size()
        return unsent > MAX_UNSENT_BYTES or len(self._unacknowledged) >= MAX_UNACKNOWLEDGED

    async def ready(self) -> None:
        """Wait until the client has taken most of what it was sent, so that more may follow."""
        await self._writer.drain()
        while len(self._unacknowledged) >= REPLAY_WINDOW and not self.closed:
            self._wake.clear()
            await self._wake.wait()

    async def drain(self) -> None:
        """Wait until the socket takes more bytes; ConnectionError when it is gone."""
        await self._writer.drain()

    def acknowledged(self, packet_id: int) -> None:
        """Note the client's PUBACK; unknown ids change nothing."""
        self._unacknowledged.discard(packet_id)
        self._wake.set()

    def request_replay(self, topic_filter: str, qos: int) -> None:
        """Have the waiting mail of a new subscription sent; asking twice sends it once."""
        self._replays[topic_filter] = qos
        self._wake.set()

    async def next_replay(self) -> tuple[str, int]:
        """Wait for the next subscription whose waiting mail is to be sent."""
        while not self._replays:
            self._wake.clear()
            await self._wake.wait()
        topic_filter = next(iter(self._replays))
        return topic_filter, self._replays.pop(topic_filter)

    def seen(self) -> None:
        """Note that a whole packet arrived."""
        self._last_seen = asyncio.get_running_loop().time()

    def is_silent(self, now: float) -> bool:
        """Tell whether the keep-alive time and half of it again passed without a packet.

        Source: MQTT 3.1.1, 3.1.2.10.
        """
        allowed: float = self._session.keep_alive * _KEEPALIVE_TOLERANCE
        return 0 < allowed < now - self._last_seen

    def close(self, reason: str) -> None:
        """Cut the connection now; nothing more is read, handled or sent."""
        if not self.closed:
            self.closed = True
            self._wake.set()
            self._writer.transport.abort()
            _log.info("connection closed", login=self.login, reason=reason)

    def _next_packet_id(self) -> int:
        while True:
            self._packet_id = self._packet_id % _MAX_PACKET_ID + 1
            if self._packet_id not in self._unacknowledged:
                self._unacknowledged.add(self._packet_id)
                return self._packet_id


def will_of(session: Session) -> Publication | None:
    """Return the last will of a session, None where it left none."""
    if not session.will_flag or session.will_topic is None:
        return None
    payload, qos = bytes(session.will_message or b""), session.will_qos or 0
    return Publication(session.will_topic, payload, qos, bool(session.will_retain))
