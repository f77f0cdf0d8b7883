"""How waiting mail is sent to a client that asked for it: in pages, as fast as it is taken."""

import asyncio
from collections.abc import Iterator
from typing import Final

from broker.access import Access
from broker.acl import Publication
from broker.connection import Connection
from broker.retained import WaitingMail
from broker.retained_index import Waiting

PAGE_MESSAGES: Final = 256
PAGE_BYTES: Final = 512 * 1024
"""One page is in memory at a time: what one reader makes the broker hold."""

_Places = list[tuple[str, Waiting]]


async def replay(connection: Connection, mail: WaitingMail, access: Access) -> None:
    """Send all that was asked for or missed, until nothing is left or the client is gone.

    Messages that arrive meanwhile under matching topics are noted as missed and follow in their
    order. Ends with ``connection.replaying`` false.

    Raises:
        sqlite3.Error: The file of waiting mail cannot be read.
    """
    subscriber = connection.subscriber
    try:
        while not connection.closed:
            if connection.replays:
                topic_filter = next(iter(connection.replays))
                qos = connection.replays.pop(topic_filter)
                places = mail.index.matching(topic_filter)
                for topic, _ in places:
                    subscriber.missed.pop(topic, None)
                wanted = dict.fromkeys((topic for topic, _ in places), qos)
                sender = _Sender(connection, mail, access, topic_filter)
                await sender.send(places, wanted, retain=True)
            elif subscriber.missed:
                wanted, subscriber.missed = subscriber.missed, {}
                found = ((topic, mail.index.get(topic)) for topic in wanted)
                places = [(topic, one) for topic, one in found if one is not None]
                await _Sender(connection, mail, access, None).send(places, wanted, retain=False)
            else:
                return
    finally:
        connection.replaying = False


class _Sender:
    def __init__(
        self, connection: Connection, mail: WaitingMail, access: Access, topic_filter: str | None
    ) -> None:
        self._connection = connection
        self._mail = mail
        self._access = access
        self._filter = topic_filter

    async def send(self, places: _Places, qos: dict[str, int], *, retain: bool) -> None:
        subscriber = self._connection.subscriber
        for page in _pages(places):
            await self._connection.room()
            messages = await self._mail.read(page)
            if self._ended():
                return
            for one in messages:
                if self._access.may_receive(subscriber.login, one.topic):
                    best = min(qos[one.topic], one.qos)
                    self._deliver(Publication(one.topic, one.payload, best, retain))
            await asyncio.sleep(0)

    def _ended(self) -> bool:
        gone = self._filter is not None and self._filter not in self._connection.subscriber.filters
        return gone or self._connection.closed

    def _deliver(self, message: Publication) -> None:
        if not self._connection.subscriber.deliver(message):
            self._connection.subscriber.miss(message.topic, message.qos)


def _pages(places: _Places) -> Iterator[_Places]:
    page: _Places = []
    size = 0
    for place in places:
        if page and (len(page) >= PAGE_MESSAGES or size + place[1].size > PAGE_BYTES):
            yield page
            page, size = [], 0
        page.append(place)
        size += place[1].size
    if page:
        yield page
