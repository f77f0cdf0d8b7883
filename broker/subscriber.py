"""One client as the engine routes to it: its subscriptions, what it is owed, what it missed."""

from typing import TYPE_CHECKING, Final

from broker.acl import Publication
from broker.limits import BrokerLimits
from broker.outbound import Outbound
from broker.packets import Publish, encode_publish

if TYPE_CHECKING:
    from broker.connection import Connection

MAX_MISSED: Final = 10_000
"""Topics remembered for a slow reader; past it all its subscriptions are replayed."""


class Subscriber:
    """A client's state; it outlives the connection where the client asked for that.

    What was retained and could not be delivered in time is noted, and sent when the client has
    caught up. What was not retained is dropped at the bounds: whoever asked asks again.
    """

    def __init__(self, client_id: str, login: str, limits: BrokerLimits) -> None:
        """Start without subscriptions."""
        self.client_id = client_id
        self.login = login
        self.persistent = False
        self.filters: dict[str, int] = {}
        self.received: set[int] = set()
        """Packet ids at QoS 2 that were received and not released."""
        self.outbound = Outbound(limits)
        self.connection: Connection | None = None
        self.missed: dict[str, int] = {}
        """Topics of retained messages to be sent when there is room, each with its QoS."""
        self.missed_all = False
        """Whether more was missed than is remembered by topic."""

    def deliver(self, message: Publication, *, waits: bool = False) -> bool:
        """Send or queue one message; False where it was skipped.

        Args:
            message: With the QoS and the retain flag that the client is sent.
            waits: Whether it waits under its topic, so that it can be sent later, and in the
                order of arrival with what is being replayed.
        """
        connection = self.connection
        if connection is None:
            return message.qos > 0 and self.outbound.enqueue(message)
        if waits and connection.replaying:
            self.miss(message.topic, message.qos)
            return True
        if self.outbound.queued or connection.is_congested:
            return self._queue(message, waits=waits)
        if not message.qos:
            packet = Publish(message.topic, message.payload, 0, message.retain, 0)
            connection.send_message(encode_publish(packet))
        elif self.outbound.may_send:
            connection.send_message(self.outbound.send(message))
        else:
            return self._queue(message, waits=waits)
        return True

    def miss(self, topic: str, qos: int) -> None:
        """Note that what waits under ``topic`` is still to be sent."""
        if len(self.missed) < MAX_MISSED:
            self.missed[topic] = qos
        else:
            self.missed_all = True

    def interrupted(self, *, replaying: bool) -> None:
        """Note that the connection ended: what was still to be sent is sent after the next one."""
        self.missed_all = self.missed_all or bool(self.missed) or replaying
        self.missed.clear()

    def _queue(self, message: Publication, *, waits: bool) -> bool:
        if self.outbound.enqueue(message):
            return True
        if waits:
            self.miss(message.topic, message.qos)
        return False
