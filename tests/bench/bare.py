"""A device's own MQTT login with nothing of the SDK on top: the floor of what travels."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Final, NamedTuple, Self

import aiomqtt

from client_sdk import entropy
from client_sdk.transport import mqtt
from client_sdk.wire import topics
from client_sdk.wire.errors import ProtocolError
from client_sdk.wire.ids import DeviceAddress, EnvelopeId

_NO_DELAY: Final = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)


class BareLogin(NamedTuple):
    """What a broker asks of a device."""

    host: str
    port: int
    address: DeviceAddress
    password: str


class BareIncoming(NamedTuple):
    """One message: plain bytes from another device."""

    topic: str
    sender: DeviceAddress
    payload: bytes


class BareDevice:
    """Publishes retained bytes at QoS 1 into inboxes, reads its own and clears it."""

    def __init__(self, login: BareLogin) -> None:
        self._address = login.address
        self._client = aiomqtt.Client(
            login.host,
            login.port,
            username=login.address,
            password=login.password,
            identifier=login.address,
            protocol=aiomqtt.ProtocolVersion.V311,
            clean_session=True,
            max_inflight_messages=mqtt.MAX_IN_FLIGHT,
            socket_options=_NO_DELAY,
        )
        self._client.pending_calls_threshold = 10_000
        self._clearing = asyncio.Semaphore(mqtt.MAX_IN_FLIGHT)

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        await self.subscribe()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.__aexit__(None, None, None)

    async def subscribe(self) -> None:
        await self._client.subscribe(topics.inbox_filter(self._address), mqtt.SUBSCRIBE_QOS)

    async def publish(self, recipient: DeviceAddress, payload: bytes) -> None:
        topic = topics.inbox(recipient, self._address, EnvelopeId(entropy.draw_id()))
        await self._client.publish(topic, payload, qos=1, retain=True)

    async def clear(self, topic: str) -> None:
        async with self._clearing:
            await self._client.publish(topic, b"", qos=1, retain=True)

    async def incoming(self) -> AsyncIterator[BareIncoming]:
        async for message in self._client.messages:
            if isinstance(message.payload, bytes) and message.payload:
                try:
                    topic = topics.parse_inbox(message.topic.value)
                except ProtocolError:
                    continue
                yield BareIncoming(message.topic.value, topic.sender, message.payload)
