"""What rows do as clients: log in, publish many, fetch all that waits."""

import asyncio
import contextlib
import struct
import time

from client_sdk.wire.ids import DeviceAddress
from client_sdk.wire.topics import inbox_filter
from tests.brokers.contract.under_test import BrokerUnderTest
from tests.brokers.names import mail_topic
from tests.brokers.raw_client import RawClient, Received, packet, publish_packet, text

WINDOW = 200
"""Publications that wait for their acknowledgement together."""

ALL_SECONDS = 45.0


class Clients:
    """Opens connections, and closes them at the end of the row."""

    def __init__(self) -> None:
        self._opened: list[RawClient] = []

    async def open(self, broker: BrokerUnderTest, node: int = 0) -> RawClient:
        """Open a connection without logging in."""
        context = broker.context()
        port = broker.ports[node % len(broker.ports)]
        name = None if context is None else "localhost"
        client = RawClient(
            *await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
        )
        self._opened.append(client)
        return client

    async def login(self, broker: BrokerUnderTest, login: str, node: int = 0) -> RawClient:
        """Log in, on another node of a cluster where one is named."""
        client = await self.open(broker, node)
        assert await client.connect(login, login, broker.logins[login]) == 0
        return client

    async def login_again(self, broker: BrokerUnderTest, login: str, node: int = 0) -> RawClient:
        """Log in as soon as the broker lets it: after a take-over NATS refuses for a second."""
        async with asyncio.timeout(ALL_SECONDS):
            while True:
                with contextlib.suppress(OSError):
                    client = await self.open(broker, node)
                    if await client.connect(login, login, broker.logins[login]) == 0:
                        return client
                await asyncio.sleep(0.1)  # the condition is the broker's

    async def close(self) -> None:
        for client in self._opened:
            client.abort()
        await asyncio.gather(*(client.close() for client in self._opened), return_exceptions=True)


async def publish_all(client: RawClient, mail: list[tuple[str, bytes]]) -> None:
    """Publish retained messages at QoS 1 in their order; return when all are acknowledged."""
    for start in range(0, len(mail), WINDOW):
        window = mail[start : start + WINDOW]
        for number, (topic, payload) in enumerate(window, 1):
            client.writer.write(publish_packet(topic, payload, retain=True, packet_id=number))
        for _ in window:
            assert await client.answer(0x40) is not None, "the connection was closed"


async def send(client: RawClient, sender: str, recipient: str, count: int) -> list[str]:
    """Leave numbered messages with a recipient; return their topics in order."""
    mail = [(mail_topic(number, sender, recipient), b"%d" % number) for number in range(count)]
    await publish_all(client, mail)
    return [topic for topic, _ in mail]


async def clear_all(client: RawClient, topics: list[str]) -> None:
    await publish_all(client, [(topic, b"") for topic in topics])


async def fetch(client: RawClient, login: str) -> list[Received]:
    """Subscribe to the inbox once; return what waits there, in the order of its arrival."""
    client.messages.clear()
    assert await client.subscribe(inbox_filter(DeviceAddress(login))) == [0]
    return [one for one in await client.until_quiet() if one.payload and one.retain]


async def hear(client: RawClient, wanted: set[str]) -> None:
    """Read on until all of these topics came."""
    while not wanted <= {one.topic for one in client.messages}:
        count = len(client.messages)
        assert len(await client.until(count + 1)) > count, "no more messages arrive"


async def fetch_all(client: RawClient, login: str, wanted: set[str], *, more: bool = False) -> int:
    """Subscribe again and again, as the SDK does, until all topics came; return how often.

    ``more`` lets others come too.
    """
    found: set[str] = set()
    end = time.monotonic() + ALL_SECONDS
    times = 0
    while not wanted <= found:
        assert time.monotonic() < end, f"{len(found & wanted)} of {len(wanted)} arrived"
        found |= {one.topic for one in await fetch(client, login)}
        times += 1
    assert more or found == wanted
    return times


async def unsubscribe(client: RawClient, topic_filter: str) -> None:
    client.writer.write(packet(0xA2, struct.pack("!H", 9) + text(topic_filter)))
    assert await client.answer(0xB0) is not None
