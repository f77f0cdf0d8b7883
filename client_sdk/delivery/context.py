"""What the loops of one open device share."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Final

from client_sdk.delivery.bell import Bell
from client_sdk.delivery.directory import DirectoryClient
from client_sdk.delivery.peers import ListNews, Peers
from client_sdk.machine.device import OwnDevice
from client_sdk.machine.events import Event
from client_sdk.stores.ports import ClientStore
from client_sdk.wire import topics
from client_sdk.wire.ids import UserName

MAX_WAITING_EVENTS: Final = 1000
"""Events that nobody has taken; the oldest give way."""


class EventQueue:
    """Events for the app, in order."""

    def __init__(self) -> None:
        """Start empty."""
        self._events: deque[Event] = deque(maxlen=MAX_WAITING_EVENTS)
        self._bell = Bell()

    def emit(self, events: Iterable[Event]) -> None:
        """Add events."""
        self._events.extend(events)
        self._bell.ring()

    async def take(self) -> AsyncIterator[Event]:
        """Yield events as they come."""
        while True:
            ticket = self._bell.ticket()
            while self._events:
                yield self._events.popleft()
            await ticket.wait()


@dataclass(slots=True)
class Context:
    """One open device: its store, its keys, and who is to be woken when something changed."""

    store: ClientStore
    directory: DirectoryClient
    peers: Peers
    events: EventQueue = field(default_factory=EventQueue)
    outbox_bell: Bell = field(default_factory=Bell)
    """Rung when messages wait for their envelopes, or room for more was made."""
    publish_bell: Bell = field(default_factory=Bell)
    """Rung when envelopes wait to be published."""
    receipts_bell: Bell = field(default_factory=Bell)
    changed_bell: Bell = field(default_factory=Bell)
    """Rung after every change that an app may wait for."""
    clears: "asyncio.Queue[str]" = field(default_factory=asyncio.Queue)
    """Topics to clear, after the commit that made them superfluous."""

    stale_lists: "asyncio.Queue[UserName]" = field(default_factory=asyncio.Queue)
    """Users of whom somebody knows a newer device list."""

    @property
    def own(self) -> OwnDevice:
        """This device, as its user's newest list has it."""
        return self.peers.own

    def list_adopted(self, news: ListNews) -> None:
        """Tell the app, and clear what waits for devices that have left."""
        self.events.emit(news.events)
        for device, envelopes in news.orphaned:
            for one in envelopes:
                self.clears.put_nowait(topics.inbox(device, self.own.address, one))
        self.outbox_bell.ring()
        self.changed_bell.ring()

    def ring_all(self) -> None:
        """Wake everybody: another process has written."""
        self.outbox_bell.ring()
        self.publish_bell.ring()
        self.receipts_bell.ring()
        self.changed_bell.ring()


def open_context(store: ClientStore, own: OwnDevice) -> Context:
    """Return the context of a device whose store is open."""
    directory = DirectoryClient(store, own)
    context = Context(store, directory, Peers(store, own, directory))
    context.peers.on_news = context.list_adopted
    return context
