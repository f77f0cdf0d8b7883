"""A broker in this process: it keeps retained messages, or does what an evil one could do."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from client_sdk.transport.errors import ConnectionLostError
from client_sdk.transport.ports import Connection, Incoming
from client_sdk.wire import topics
from client_sdk.wire.codec import encode
from client_sdk.wire.ids import RANDOM_ID_BYTES, NoticeId, random_id
from client_sdk.wire.notice import NoticeReason, notice

Answer = Callable[[str, bytes], tuple[str, bytes] | None]


@dataclass(frozen=True)
class Evil:
    """How often, from 0 to 1, a broker does which wrong; only envelopes are touched."""

    drop: float = 0.0
    duplicate: float = 0.0
    shuffle: bool = False
    replay: float = 0.0


def matches(topic: str, pattern: str) -> bool:
    parts, wanted = topic.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(
        want in ("+", part) for part, want in zip(parts, wanted, strict=True)
    )


@dataclass
class MemoryBroker:
    """Topics, connections and the one that answers directory requests."""

    answer: Answer | None = None
    evil: Evil = field(default_factory=Evil)
    seed: int = 0
    retained: dict[str, bytes] = field(default_factory=dict)
    published: list[tuple[str, bytes]] = field(default_factory=list)
    connections: "list[MemoryConnection]" = field(default_factory=list)
    unreachable: bool = False
    quota: int | None = None
    """Envelopes of one sender for one recipient; one more is told of and not acknowledged."""

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Connection]:
        if self.unreachable:
            raise ConnectionLostError("no broker")
        connection = MemoryConnection(self)
        self.connections.append(connection)
        try:
            yield connection
        finally:
            self.connections.remove(connection)

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        self.published.append((topic, payload))
        mail = "/in/" in topic
        if mail and self.chance(self.evil.drop):
            return
        if retain and payload:
            self.retained[topic] = payload
        elif retain:
            self.retained.pop(topic, None)
        self.forward(topic, payload)
        if mail and self.chance(self.evil.duplicate):
            self.forward(topic, payload)
        if mail and self.chance(self.evil.replay):
            old_topic, old_payload = self.random.choice(self.published)
            if "/in/" in old_topic and old_payload:
                self.retained[old_topic] = old_payload  # what was cleared comes back
                self.forward(old_topic, old_payload)
        if self.answer is not None:
            reply = self.answer(topic, payload)
            if reply is not None:
                self.forward(*reply)

    def refuses(self, topic: str, payload: bytes) -> bool:
        """Tell whether a publication is over the quota, and tell its sender."""
        if self.quota is None or "/in/" not in topic or not payload or topic in self.retained:
            return False
        mailbox = topic.rpartition("/")[0] + "/"
        if sum(one.startswith(mailbox) for one in self.retained) < self.quota:
            return False
        sender = topics.parse_inbox(topic).sender
        notice_id = NoticeId(random_id(self.random.randbytes(RANDOM_ID_BYTES)))
        told = encode(notice(NoticeReason.OVER_QUOTA, topic))
        self.forward(topics.notice(sender, notice_id), told)
        return True

    def forward(self, topic: str, payload: bytes, *, retained: bool = False) -> None:
        for connection in self.connections:
            if any(matches(topic, one) for one in connection.filters):
                connection.put(Incoming(topic, payload, retained))

    def cut(self) -> None:
        """End every connection."""
        for connection in self.connections:
            connection.put(None)


class MemoryConnection:
    """One client's connection, see ``Connection``."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.broker = broker
        self.filters: list[str] = []
        self.waiting: list[Incoming | None] = []
        self.lost = False
        self.arrived = asyncio.Event()

    def put(self, incoming: Incoming | None) -> None:
        self.waiting.append(incoming)
        self.lost = self.lost or incoming is None
        self.arrived.set()

    async def subscribe(self, *filters: str) -> None:
        await self.turn()
        self.filters = [*self.filters, *(one for one in filters if one not in self.filters)]
        for topic, payload in list(self.broker.retained.items()):
            if any(matches(topic, one) for one in filters):
                self.put(Incoming(topic, payload, retained=True))

    async def unsubscribe(self, *filters: str) -> None:
        await self.turn()
        self.filters = [one for one in self.filters if one not in filters]

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        await self.turn()
        if self.broker.refuses(topic, payload):
            await asyncio.Event().wait()
        self.broker.publish(topic, payload, retain=retain)

    async def turn(self) -> None:
        await asyncio.sleep(0)
        if self.lost:
            raise ConnectionLostError("cut")

    async def incoming(self) -> AsyncIterator[Incoming]:
        while True:
            while not self.waiting:
                self.arrived.clear()
                await self.arrived.wait()
            if self.broker.evil.shuffle:
                await asyncio.sleep(0.002)  # lets a handful gather, so that there is an order
            index = (
                self.broker.random.randrange(len(self.waiting)) if self.broker.evil.shuffle else 0
            )
            one = self.waiting.pop(index)
            if one is None:
                raise ConnectionLostError("cut")
            yield one
