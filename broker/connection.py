"""One client that logged in: what it is acknowledged, and when there is room to send it more."""

import asyncio
from collections import deque
from typing import Final, Protocol

from broker.acl import Publication
from broker.auth import Identity
from broker.limits import BrokerLimits
from broker.link import Link
from broker.packets import encode_ack
from broker.statistics import Statistics
from broker.subscriber import Subscriber

_KEEPALIVE_TOLERANCE: Final = 1.5
_ACKS: Final = "acknowledgements"


class ConnectionOwner(Protocol):
    """What a connection needs from the engine."""

    limits: BrokerLimits
    statistics: Statistics

    @property
    def committed(self) -> int:
        """The newest batch of waiting mail on disk."""
        ...

    def await_commit(self, connection: "Connection") -> None:
        """Have ``release`` called after the next commit."""
        ...

    def start_replay(self, connection: "Connection") -> None:
        """Send what ``connection`` asked for or missed, in a task of its own."""
        ...


class Connection:
    """The state of one client between its login and its end."""

    def __init__(
        self, owner: ConnectionOwner, link: Link, subscriber: Subscriber, identity: Identity
    ) -> None:
        """Take over the link of a client that was authenticated."""
        self.link = link
        self.subscriber = subscriber
        self.login, self.secret_hash = identity
        self.will: Publication | None = None
        self.keep_alive = 0
        self.replaying = False
        """Whether waiting mail is being sent: retained messages take their place behind it."""
        self.replays: dict[str, int] = {}
        """Filters whose waiting mail was asked for and is not being sent yet."""
        self._owner = owner
        self._acks: deque[tuple[int, int, int]] = deque()
        self._room = asyncio.Event()

    @property
    def closed(self) -> bool:
        """Whether the link is closed."""
        return self.link.closed

    @property
    def is_congested(self) -> bool:
        """Whether the client takes its bytes more slowly than they come."""
        return self.link.is_congested

    def send(self, packet: bytes) -> None:
        """Queue one packet of the protocol for the client."""
        self.link.send(packet)

    def send_message(self, packet: bytes) -> None:
        """Queue one PUBLISH for the client."""
        self._owner.statistics.messages_out += 1
        self._owner.statistics.bytes_out += len(packet)
        self.link.send(packet)

    def acknowledge(self, kind: int, packet_id: int, batch: int) -> None:
        """Send an acknowledgement once ``batch`` is on disk, and after those before it.

        Source: MQTT 3.1.1, 4.6: acknowledgements keep the order of their messages.
        """
        if not self._acks and batch <= self._owner.committed:
            self.link.send(encode_ack(kind, packet_id))
            return
        if not self._acks:
            self._owner.await_commit(self)
        self._acks.append((kind, packet_id, batch))
        if len(self._acks) >= self._owner.limits.max_inflight:
            self.link.pause(_ACKS)

    def release(self, committed: int) -> bool:
        """Send the acknowledgements that ``committed`` allows; tell whether others wait."""
        acks = self._acks
        while acks and acks[0][2] <= committed:
            kind, packet_id, _ = acks.popleft()
            self.link.send(encode_ack(kind, packet_id))
        if len(acks) < self._owner.limits.max_inflight:
            self.link.resume(_ACKS)
        return bool(acks)

    def request_replay(self, topic_filter: str, qos: int) -> None:
        """Have the waiting mail of a subscription sent; asking twice sends it once."""
        self.replays[topic_filter] = qos
        self._start_replay()

    def progress(self) -> None:
        """Send what was queued, then what was missed, as far as there is room."""
        self._room.set()
        if self.is_congested:
            return
        for packet in self.subscriber.outbound.pump():
            self.send_message(packet)
        if (self.subscriber.missed or self.subscriber.missed_all) and self.has_room:
            if self.subscriber.missed_all:
                self.subscriber.missed_all = False
                self.replays.update(self.subscriber.filters)
            self._start_replay()

    @property
    def has_room(self) -> bool:
        """Whether the client has taken most of what it was sent, so that more may follow."""
        outbound = self.subscriber.outbound
        few = outbound.in_flight <= self._owner.limits.max_inflight // 2
        return few and not outbound.queued and not self.is_congested

    async def room(self) -> None:
        """Wait until there is room or the connection is closed."""
        while not self.has_room and not self.closed:
            self._room.clear()
            await self._room.wait()

    def is_silent(self, now: float) -> bool:
        """Tell whether the keep-alive time and half of it again passed without a byte.

        Source: MQTT 3.1.1, 3.1.2.10.
        """
        return 0 < self.keep_alive * _KEEPALIVE_TOLERANCE < now - self.link.last_seen

    def close(self, reason: str) -> None:
        """Cut the connection now; nothing more is read, handled or sent."""
        self.link.drop(reason)
        self._room.set()

    def _start_replay(self) -> None:
        if not self.replaying:
            self.replaying = True
            self._owner.start_replay(self)
