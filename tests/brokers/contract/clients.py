"""What rows do as clients: log in, publish many, fetch all that waits."""

import asyncio
import contextlib
import time
from typing import NamedTuple

from client_sdk.wire.ids import DeviceAddress
from client_sdk.wire.topics import inbox_filter
from tests.brokers.contract.under_test import BrokerUnderTest
from tests.brokers.names import mail_topic
from tests.brokers.raw_client import ANSWER_SECONDS, RawClient
from tests.conformance.packets import PUBACK, Message, publish

WINDOW = 200
"""Publications that wait for their acknowledgement together."""

ALL_SECONDS = 60.0
"""Until a broker that is behind, on a busy machine, has handed over all that waits."""

TRY_SECONDS = 5.0
"""After which a login that was not answered is tried again."""

PART_SECONDS = 1.0
"""Without a message, after which one subscribes again where a broker hands over a part."""


class Device(RawClient):
    """A connection to a broker under test.

    Attributes:
        patience: How long, in s, the next of all that waits may take.
        filters: Where mail waits for it: its inbox.
    """

    patience: float = ANSWER_SECONDS
    filters: tuple[str, ...] = ()


class Fetched(NamedTuple):
    """What repeated subscribing found, in the order of arrival, and how often it subscribed."""

    mail: dict[str, bytes]
    times: int


class Clients:
    """Opens connections, and closes them at the end of the row."""

    def __init__(self) -> None:
        self._opened: list[Device] = []

    async def open(self, broker: BrokerUnderTest, node: int = 0) -> Device:
        """Open a connection without logging in."""
        context = broker.context()
        port = broker.ports[node % len(broker.ports)]
        name = None if context is None else "localhost"
        client = Device(
            *await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
        )
        client.patience = ANSWER_SECONDS if broker.limits.whole else PART_SECONDS
        self._opened.append(client)
        return client

    async def login(self, broker: BrokerUnderTest, login: str, node: int = 0) -> Device:
        """Log in as soon as the broker lets it, on another node of a cluster where one is named.

        NATS refuses for a second after a take-over, and while its nodes do not agree.
        """
        async with asyncio.timeout(ALL_SECONDS):
            while True:
                with contextlib.suppress(OSError):  # TimeoutError is one
                    client = await self.open(broker, node)
                    client.filters = (inbox_filter(DeviceAddress(login)),)
                    async with asyncio.timeout(TRY_SECONDS):
                        if await client.connect(login, login, broker.logins[login]) == 0:
                            return client
                await asyncio.sleep(0.1)  # the condition is the broker's

    async def close(self) -> None:
        for client in self._opened:
            client.abort()
        await asyncio.gather(*(client.close() for client in self._opened), return_exceptions=True)


async def publish_all(client: Device, mail: list[tuple[str, bytes]]) -> None:
    """Publish retained messages at QoS 1 in their order; return when all are acknowledged."""
    for start in range(0, len(mail), WINDOW):
        window = mail[start : start + WINDOW]
        for number, (topic, payload) in enumerate(window, 1):
            client.writer.write(publish(topic, payload, 1, retain=True, packet_id=number))
        for _ in window:
            assert await client.answer(PUBACK) is not None, "the connection was closed"


async def send(
    client: Device, sender: str, recipient: str, count: int, *, first: int = 0
) -> list[str]:
    """Leave messages numbered from ``first`` with a recipient; return their topics in order."""
    numbers = range(first, first + count)
    mail = [(mail_topic(number, sender, recipient), b"%d" % number) for number in numbers]
    await publish_all(client, mail)
    return [topic for topic, _ in mail]


async def clear_all(client: Device, topics: list[str]) -> None:
    await publish_all(client, [(topic, b"") for topic in topics])


async def hear(client: Device, wanted: set[str]) -> None:
    """Read on until all of these topics came."""
    while not wanted <= {one.topic for one in client.messages}:
        count = len(client.messages)
        assert len(await client.until(max(count + 1, len(wanted)))) > count, "nothing more arrives"


async def fetch(client: Device, count: int = 0) -> list[Message]:
    """Subscribe once; return what came of what waits, in the order of its arrival.

    ``count`` is how many are waited for as long as the broker may take. No row asserts that
    something is here: that is for ``fetch_all``.
    """
    client.messages.clear()
    assert await client.subscribe(*client.filters) == [0] * len(client.filters)
    await client.until(count, client.patience)
    return [one for one in await client.until_quiet() if one.payload and one.retain]


async def fetch_all(client: Device, wanted: set[str], *, more: bool = False) -> Fetched:
    """Subscribe again and again, as the SDK does, until all topics came.

    Every wait for something that waits is this one: NATS acknowledges before each node knows of a
    retained message, and hands over what it knows. ``more`` lets others come too.
    """
    mail: dict[str, bytes] = {}
    end = time.monotonic() + ALL_SECONDS
    times = 0
    while not wanted <= mail.keys():
        assert time.monotonic() < end, f"{len(wanted & mail.keys())} of {len(wanted)} arrived"
        mail |= {one.topic: one.payload for one in await fetch(client, len(wanted))}
        times += 1
    assert more or mail.keys() == wanted
    return Fetched(mail, times)


async def fetch_only(client: Device, wanted: set[str]) -> None:
    """Subscribe again and again until these topics came together and no other one.

    For what was cleared: NATS acknowledges that, too, before each node knows of it.
    """
    end = time.monotonic() + ALL_SECONDS
    while True:
        found = {one.topic for one in await fetch(client, len(wanted))}
        if found == wanted:
            return
        assert time.monotonic() < end, f"{len(found - wanted)} too many, {len(wanted - found)} away"
