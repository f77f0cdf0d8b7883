"""What the loops of one open device share."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Final

from client_sdk.delivery.adoption import Adoption
from client_sdk.delivery.bell import Bell
from client_sdk.delivery.directory import DirectoryClient
from client_sdk.delivery.full_mailboxes import FullMailboxes
from client_sdk.delivery.peers import Peers, Told
from client_sdk.machine.device import OwnDevice
from client_sdk.machine.events import Event
from client_sdk.stores.ports import ClientStore
from client_sdk.wire import topics
from client_sdk.wire.ids import DeviceAddress, UserName

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
    healing_bell: Bell = field(default_factory=Bell)
    """Rung when something did not open, or was asked for again."""
    changed_bell: Bell = field(default_factory=Bell)
    """Rung after every change that an app may wait for."""
    clears: "asyncio.Queue[str]" = field(default_factory=asyncio.Queue)
    """Topics to clear, after the commit that made them superfluous."""

    resync_bell: Bell = field(default_factory=Bell)
    """Rung when mail that was left on the broker may be opened now."""
    held: set[UserName] = field(default_factory=set)
    """Users whose mail may be left on the broker until they are trusted or verified."""
    stale_lists: "asyncio.Queue[UserName]" = field(default_factory=asyncio.Queue)
    """Users of whom somebody knows a newer device list."""
    keys_bell: Bell = field(default_factory=Bell)
    """Rung when one's own account may have another key, or a manager is to get it."""
    key_wishes: set[DeviceAddress] = field(default_factory=set)
    """Managers of one's own account that are to get its private key."""

    full: FullMailboxes = field(init=False)
    """Recipients for whom the broker takes no more mail now."""

    def __post_init__(self) -> None:
        """Know whose notices these are."""
        self.full = FullMailboxes(self.own.address)

    @property
    def own(self) -> OwnDevice:
        """This device, as its user's newest list has it."""
        return self.peers.own

    def adopted(self, adoption: Adoption) -> None:
        """Act on a device list that was adopted, after its commit."""
        state = adoption.step.state
        if state.is_held:
            self.held.add(state.user)
        for recipient, envelope_id in adoption.dropped:
            self.clears.put_nowait(topics.inbox(recipient, self.own.address, envelope_id))
        if adoption.step.events:
            self.events.emit(adoption.step.events)
        if state.is_own:
            self.keys_bell.ring()
        self.outbox_bell.ring()
        self.changed_bell.ring()

    def give_account_key(self, managers: Iterable[DeviceAddress]) -> None:
        """Let these managers of one's own account have its key, as far as they may."""
        self.key_wishes.update(managers)
        if self.key_wishes:
            self.keys_bell.ring()

    def ring_all(self) -> None:
        """Wake everybody: another process has written."""
        self.outbox_bell.ring()
        self.publish_bell.ring()
        self.receipts_bell.ring()
        self.healing_bell.ring()
        self.changed_bell.ring()


def open_context(store: ClientStore, own: OwnDevice) -> Context:
    """Return the context of a device whose store is open."""

    def adopted(adoption: Adoption) -> None:
        context.adopted(adoption)

    directory, events = DirectoryClient(store, own), EventQueue()
    peers = Peers(store, own, directory, Told(adopted, events.emit))
    context = Context(store, directory, peers, events)
    return context
