"""One client's packets, handled in order, and its waiting mail, sent beside them."""

import asyncio
import itertools
from typing import Any, Final, Protocol

from amqtt.mqtt.disconnect import DisconnectPacket
from amqtt.mqtt.packet import MQTTPacket
from amqtt.mqtt.pingreq import PingReqPacket
from amqtt.mqtt.pingresp import PingRespPacket
from amqtt.mqtt.puback import PubackPacket
from amqtt.mqtt.publish import PublishPacket
from amqtt.mqtt.suback import SubackPacket
from amqtt.mqtt.subscribe import SubscribePacket
from amqtt.mqtt.unsuback import UnsubackPacket
from amqtt.mqtt.unsubscribe import UnsubscribePacket

from broker import acl
from broker.acl import Publication
from broker.connection import MAX_FILTERS, Connection
from broker.frames import parse, read_frame
from broker.retained import WaitingMail
from broker.subscriptions import Subscriptions
from client_sdk.wire.errors import MalformedError, ProtocolError

REFUSED: Final = 0x80
_PAGE: Final = 64
"""Packets or messages of one client after which the others get their turn."""


class Router(Protocol):
    """What a conversation needs from the engine."""

    mail: WaitingMail
    routes: Subscriptions[Connection]

    def publish(self, origin: Connection, publication: Publication) -> bool:
        """Retain and deliver what ``origin`` published, if it may."""
        ...


class Conversation:
    """The life of a connection between its login and its end.

    Packets are handled as they are read: a PUBACK is written after its message was retained and
    delivered, and nothing acknowledged is left undone when the client goes.
    """

    def __init__(
        self, router: Router, connection: Connection, reader: asyncio.StreamReader
    ) -> None:
        """Prepare to read what the client sends after its CONNECT."""
        self._router = router
        self._connection = connection
        self._reader = reader

    async def run(self) -> None:
        """Serve until the client goes, breaks a rule or is closed; never raises for its sake."""
        async with asyncio.TaskGroup() as group:
            replaying = group.create_task(self._replay_subscriptions())
            try:
                await self._read_packets()
            except ProtocolError as error:
                self._connection.close(error.code)
            except OSError:
                self._connection.close("the socket broke")
            finally:
                replaying.cancel()

    async def _read_packets(self) -> None:
        for number in itertools.count(1):
            if number % _PAGE == 0:
                await asyncio.sleep(0)
            frame = await read_frame(self._reader)
            if frame is None or self._connection.closed:
                return
            self._connection.seen()
            packet = await parse(frame)
            if isinstance(packet, DisconnectPacket):
                self._connection.will = None
                return
            self._handle(packet)
            await self._connection.drain()

    def _handle(self, packet: MQTTPacket[Any, Any, Any]) -> None:
        match packet:
            case PublishPacket():
                self._handle_publish(packet)
            case PubackPacket():
                self._connection.acknowledged(packet.packet_id)
            case SubscribePacket():
                self._handle_subscribe(packet)
            case UnsubscribePacket():
                self._handle_unsubscribe(packet)
            case PingReqPacket():
                self._connection.send(PingRespPacket.build())
            case _:
                raise MalformedError("a packet out of place")

    def _handle_publish(self, packet: PublishPacket) -> None:
        qos = packet.qos or 0
        if qos > 1:
            raise MalformedError("QoS 2 is not offered")
        publication = Publication(
            packet.topic_name or "", packet.data or b"", qos, packet.retain_flag
        )
        self._router.publish(self._connection, publication)
        if qos and packet.packet_id:
            self._connection.send(PubackPacket.build(packet.packet_id))

    def _handle_subscribe(self, packet: SubscribePacket) -> None:
        if packet.payload is None or packet.variable_header is None or not packet.payload.topics:
            raise MalformedError("a subscription to nothing")
        granted = [self._subscribe(*wanted) for wanted in packet.payload.topics]
        self._connection.send(SubackPacket.build(packet.variable_header.packet_id, granted))
        for (topic_filter, _), qos in zip(packet.payload.topics, granted, strict=True):
            if qos != REFUSED:
                self._connection.request_replay(topic_filter, qos)

    def _subscribe(self, topic_filter: str, wanted_qos: int) -> int:
        filters = self._connection.filters
        if not acl.may_subscribe(self._connection.login, topic_filter):
            return REFUSED
        if topic_filter not in filters and len(filters) >= MAX_FILTERS:
            return REFUSED
        qos = min(wanted_qos, 1)
        filters[topic_filter] = qos
        self._router.routes.add(topic_filter, self._connection, qos)
        return qos

    def _handle_unsubscribe(self, packet: UnsubscribePacket) -> None:
        if packet.payload is None or packet.variable_header is None:
            raise MalformedError("an UNSUBSCRIBE without filters")
        for topic_filter in packet.payload.topics:
            if self._connection.filters.pop(topic_filter, None) is not None:
                self._router.routes.remove(topic_filter, self._connection)
        self._connection.send(UnsubackPacket.build(packet.variable_header.packet_id))

    async def _replay_subscriptions(self) -> None:
        try:
            while True:
                topic_filter, qos = await self._connection.next_replay()
                await self._replay(topic_filter, qos)
        except OSError:
            self._connection.close("the socket broke")

    async def _replay(self, topic_filter: str, qos: int) -> None:
        for position, topic in enumerate(self._router.mail.matching(topic_filter), start=1):
            await self._connection.ready()
            if self._connection.closed or topic_filter not in self._connection.filters:
                return
            message = self._router.mail.get(topic)
            if message is not None and acl.may_receive(self._connection.login, topic):
                best = min(qos, message.qos)
                self._connection.deliver(Publication(topic, message.payload, best, retain=True))
            if position % _PAGE == 0:
                await asyncio.sleep(0)
