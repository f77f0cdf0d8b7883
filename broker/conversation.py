"""What each packet of a client that logged in asks for."""

from typing import Final, Protocol

from broker.access import Access
from broker.acl import Publication
from broker.connection import Connection
from broker.frames import Frame
from broker.limits import BrokerLimits
from broker.packets import (
    DISCONNECT,
    PING_ANSWER,
    PINGREQ,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    REFUSED_SUBSCRIPTION,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    Subscribe,
    Unsubscribe,
    encode_ack,
    encode_suback,
    parse_ack,
    parse_publish,
    parse_subscribe,
    parse_unsubscribe,
)
from broker.statistics import Statistics
from broker.subscriber import Subscriber
from broker.subscriptions import Subscriptions
from client_sdk.wire.errors import MalformedError

_AT_LEAST_ONCE: Final = 1
_EXACTLY_ONCE: Final = 2


class Router(Protocol):
    """What a conversation needs from the engine."""

    access: Access
    limits: BrokerLimits
    statistics: Statistics
    routes: Subscriptions[Subscriber]

    def publish(self, origin: str, publication: Publication) -> int | None:
        """Retain and deliver what ``origin`` published, if it may.

        Returns:
            The batch of waiting mail after which it may be acknowledged; None where it was not
            taken and is not acknowledged.
        """
        ...

    @property
    def newest_batch(self) -> int:
        """The batch that all that was published before is in, or in one before it."""
        ...

    def published(self, connection: Connection) -> None:
        """Stop reading from who publishes faster than the disk writes."""
        ...


class Conversation:
    """Handles the packets of one connection in the order in which they come."""

    def __init__(self, router: Router, connection: Connection) -> None:
        """Prepare; nothing is sent."""
        self._router = router
        self._connection = connection
        self._subscriber = connection.subscriber

    def take(self, frame: Frame) -> None:
        """Do what one packet asks for.

        Raises:
            ProtocolError: It breaks a rule; nothing was done.
        """
        kind = frame.kind
        if kind == PUBLISH:
            self._publish(frame)
        elif kind in (PUBACK, PUBCOMP):
            self._subscriber.outbound.acknowledged(parse_ack(frame.body))
            self._connection.progress()
        elif kind == PUBREC:
            self._connection.send(self._subscriber.outbound.received(parse_ack(frame.body)))
        elif kind == PUBREL:
            packet_id = parse_ack(frame.body)
            self._subscriber.received.discard(packet_id)
            self._connection.send(encode_ack(PUBCOMP, packet_id))
        else:
            self._take_rare(frame)

    def progress(self) -> None:
        """Send more: the socket takes bytes again."""
        self._connection.progress()

    def _take_rare(self, frame: Frame) -> None:
        if frame.kind == SUBSCRIBE:
            self._subscribe(parse_subscribe(frame.body))
        elif frame.kind == UNSUBSCRIBE:
            self._unsubscribe(parse_unsubscribe(frame.body))
        elif frame.kind == PINGREQ and not frame.body:
            self._connection.send(PING_ANSWER)
        elif frame.kind == DISCONNECT and not frame.body:
            self._connection.will = None
            self._connection.link.finish("disconnected")
        else:
            raise MalformedError("a packet out of place")

    def _publish(self, frame: Frame) -> None:
        packet = parse_publish(frame.flags, frame.body)
        statistics, connection = self._router.statistics, self._connection
        statistics.bytes_in += len(frame.body)
        received = self._subscriber.received
        # A message at QoS 2 that came before is answered again, and not before it is on disk.
        batch: int | None = self._router.newest_batch
        if packet.qos < _EXACTLY_ONCE or packet.packet_id not in received:
            if packet.qos == _EXACTLY_ONCE and len(received) >= self._router.limits.max_inflight:
                raise MalformedError("more messages at QoS 2 than may be in flight")
            publication = Publication(packet.topic, packet.payload, packet.qos, packet.retain)
            batch = self._router.publish(connection.login, publication)
        if packet.qos and batch is not None:
            if packet.qos == _EXACTLY_ONCE:
                received.add(packet.packet_id)
            kind = PUBACK if packet.qos == _AT_LEAST_ONCE else PUBREC
            connection.acknowledge(kind, packet.packet_id, batch)
        self._router.published(connection)

    def _subscribe(self, packet: Subscribe) -> None:
        granted = [self._subscribe_to(*wanted) for wanted in packet.wanted]
        self._connection.send(encode_suback(packet.packet_id, granted))
        for (topic_filter, _), qos in zip(packet.wanted, granted, strict=True):
            if qos != REFUSED_SUBSCRIPTION:
                self._connection.request_replay(topic_filter, qos)

    def _subscribe_to(self, topic_filter: str, qos: int) -> int:
        filters, router = self._subscriber.filters, self._router
        full = topic_filter not in filters and len(filters) >= router.limits.max_filters
        if (
            full
            or not router.limits.allow_topic(topic_filter)
            or not router.access.may_subscribe(self._connection.login, topic_filter)
        ):
            router.statistics.refuse("subscription")
            return REFUSED_SUBSCRIPTION
        filters[topic_filter] = qos
        router.routes.add(topic_filter, self._subscriber, qos)
        return qos

    def _unsubscribe(self, packet: Unsubscribe) -> None:
        for topic_filter in packet.filters:
            if self._subscriber.filters.pop(topic_filter, None) is not None:
                self._router.routes.remove(topic_filter, self._subscriber)
        self._connection.send(encode_ack(UNSUBACK, packet.packet_id))
