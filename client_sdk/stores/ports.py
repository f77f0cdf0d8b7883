"""What the layers above need of a store; every method is one transaction."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from client_sdk.machine.changes import Changes
from client_sdk.machine.identity import Identity, UnderWay
from client_sdk.machine.late import LateMessage
from client_sdk.machine.rows import (
    Message,
    OpenedEnvelope,
    OutboxEnvelope,
    Peer,
    PrekeyKind,
    PrekeyRow,
    ReceiptDue,
    SessionRow,
    StreamPosition,
)
from client_sdk.stores.healing_port import HealingStore
from client_sdk.wire.directory import Contact, Relation
from client_sdk.wire.ids import DeviceAddress, EnvelopeId, MessageId, UserName


class Snapshot(NamedTuple):
    """All that a decision about one user needs, with the revision to base it on."""

    user: UserName
    revision: int
    peer: Peer
    sessions: tuple[SessionRow, ...]
    streams: tuple[StreamPosition, ...]
    late: frozenset[DeviceAddress] = frozenset()
    """Devices that are still to get earlier messages."""


class Backlog(NamedTuple):
    """Envelopes without a receipt that lie on the broker for one recipient device."""

    envelopes: int
    size: int


class Counts(NamedTuple):
    """What waits in a store."""

    queued: int
    under_way: int
    unread: int
    one_time_prekeys: int


class StoredMessage(NamedTuple):
    """A message and its place in the history, growing."""

    position: int
    message: Message


class Delivery(NamedTuple):
    """One device's receipts for a message of ours; times in ms since 1970."""

    device: DeviceAddress
    delivered_at: int | None
    read_at: int | None


class PublishedMark(NamedTuple):
    """An envelope that the broker acknowledged, and when it is due again."""

    envelope_id: EnvelopeId
    next_at: int


class ClientStore(HealingStore, Protocol):
    """Durable state of one device."""

    async def commit(self, changes: Changes, *, relaxed: bool = False) -> None:
        """Write all of ``changes`` or none.

        Args:
            changes: The rows of one step.
            relaxed: Do not wait for the disk: the step outlives every crash of the process, but
                a power failure may undo it. Only for what may be done again.

        Raises:
            StaleSnapshotError: Rows that they are based on have moved on; nothing was written.
            StoreError: The storage failed; nothing was written.
        """
        ...

    async def device(self) -> bytes | None:
        """Return the device's own encoded record, or None in a new store."""
        ...

    async def pinned_ca(self) -> bytes | None:
        """Return the certificate of the pinned CA in DER, or None before it was met."""
        ...

    async def keep_pinned_ca(self, certificate: bytes) -> None:
        """Keep the certificate of the pinned CA in place of an earlier one."""
        ...

    async def last_broker(self) -> str | None:
        """Return the address that the last connection was made to, or None before the first."""
        ...

    async def keep_last_broker(self, url: str) -> None:
        """Keep the address of a connection that was made, in place of an earlier one."""
        ...

    async def reserve(self, counter: str, count: int) -> int:
        """Take ``count`` numbers of a counter for good; return the first, from 1."""
        ...

    async def raise_counter(self, counter: str, value: int) -> None:
        """Make the next number of a counter greater than ``value``."""
        ...

    async def snapshot(self, user: UserName) -> Snapshot:
        """Return all about one user; an unknown one has revision 0 and an empty peer."""
        ...

    async def users_with_queued(self) -> list[UserName]:
        """Return the users to whom messages wait for their envelopes."""
        ...

    async def queued(self, user: UserName, limit: int) -> list[Message]:
        """Return up to ``limit`` queued messages to one user in the order of sending."""
        ...

    async def users_with_late(self) -> list[UserName]:
        """Return the users of whom a device is still to get a message."""
        ...

    async def late(self, device: DeviceAddress, limit: int) -> list[LateMessage]:
        """Return up to ``limit`` messages that a device is still to get, in their order."""
        ...

    async def envelopes_for(self, device: DeviceAddress) -> list[EnvelopeId]:
        """Return the ids of all envelopes for one recipient device."""
        ...

    async def senders_of(
        self, user: UserName, ids: Sequence[MessageId]
    ) -> dict[MessageId, DeviceAddress]:
        """Return which device of a user has sent each of these messages."""
        ...

    async def outlived(self, before: int, limit: int) -> list[OutboxEnvelope]:
        """Return up to ``limit`` unreceipted envelopes made before a time, oldest first."""
        ...

    async def backlog(self, recipient: DeviceAddress) -> Backlog:
        """Return how much lies unreceipted for one recipient device."""
        ...

    async def due_envelopes(self, now: int, limit: int) -> list[OutboxEnvelope]:
        """Return up to ``limit`` envelopes to publish by ``now``, longest due first."""
        ...

    async def mark_published(self, marks: Sequence[PublishedMark]) -> None:
        """Note the broker's acknowledgements, relaxed; receipts leave the outbox by it."""
        ...

    async def postpone(self, recipient: DeviceAddress, next_at: int) -> None:
        """Make the envelopes for ``recipient`` due at ``next_at`` at the earliest."""
        ...

    async def resume(self, recipient: DeviceAddress, now: int) -> None:
        """Make due what was never published for ``recipient``: what was postponed is no longer."""
        ...

    async def publish_again(self, now: int) -> None:
        """Make every envelope due: the broker may have lost them."""
        ...

    async def next_envelope_at(self) -> int | None:
        """Return when the next envelope is due, or None where the outbox is empty."""
        ...

    async def find_opened(
        self, keys: Sequence[tuple[DeviceAddress, EnvelopeId]]
    ) -> dict[tuple[DeviceAddress, EnvelopeId], OpenedEnvelope]:
        """Return which of these envelopes were opened before."""
        ...

    async def known_messages(self, user: UserName, ids: Sequence[MessageId]) -> set[MessageId]:
        """Return which of these messages of a user are in the history already."""
        ...

    async def sent_to(self, user: UserName, ids: Sequence[MessageId]) -> set[MessageId]:
        """Return which of these are own messages to a user that were encrypted."""
        ...

    async def knows_handshake(self, digest: bytes) -> bool:
        """Tell whether a handshake was accepted before."""
        ...

    async def load_prekeys(
        self, keys: Sequence[tuple[PrekeyKind, int]]
    ) -> dict[tuple[PrekeyKind, int], PrekeyRow]:
        """Return the private prekeys that are still there."""
        ...

    async def waiting_prekeys(self, kind: PrekeyKind, limit: int) -> list[PrekeyRow]:
        """Return up to ``limit`` prekeys of a kind that the directory does not have yet."""
        ...

    async def medium_term_prekeys(self) -> list[PrekeyRow]:
        """Return all signed and last-resort prekeys, replaced ones too."""
        ...

    async def receipts_due(self, limit: int) -> list[ReceiptDue]:
        """Return up to ``limit`` receipts that are owed, oldest first."""
        ...

    async def gaps_since(self, before: int) -> list[tuple[UserName, StreamPosition]]:
        """Return the streams that wait for a missing message since before ``before``."""
        ...

    async def overdue(self, sent_before: int, now: int) -> list[Message]:
        """Return own undelivered messages sent before a time, or expired by ``now``."""
        ...

    async def envelopes_of(self, message_id: MessageId) -> list[OutboxEnvelope]:
        """Return the envelopes of a message that have no receipt yet."""
        ...

    async def under_way(self, user: UserName) -> UnderWay:
        """Return a user's envelopes, and the messages among them without any receipt, in order."""
        ...

    async def unreceipted_since(self, before: int) -> list[UserName]:
        """Return the users who owe a receipt for an envelope that was made up to ``before``."""
        ...

    async def identities(self) -> dict[UserName, Identity]:
        """Return the users whose identity is verified, or was and has changed."""
        ...

    async def ready(self, limit: int) -> list[StoredMessage]:
        """Return up to ``limit`` messages to hand over, in their order."""
        ...

    async def requests(self) -> list[StoredMessage]:
        """Return the first waiting message of every stranger."""
        ...

    async def waiting_requests(self, user: UserName) -> list[MessageId]:
        """Return the messages of one stranger that wait for ``accept``, in their order."""
        ...

    async def history(
        self, conversation: UserName, limit: int, before: int | None
    ) -> list[StoredMessage]:
        """Return the newest ``limit`` messages before a position, oldest first."""
        ...

    async def message(self, message_id: MessageId) -> StoredMessage | None:
        """Return one own message."""
        ...

    async def deliveries(self, message_id: MessageId) -> list[Delivery]:
        """Return the receipts for one own message."""
        ...

    async def contacts(self) -> list[Contact]:
        """Return the contacts as last fetched."""
        ...

    async def replace_contacts(self, contacts: Sequence[Contact]) -> None:
        """Store newly fetched contacts in place of the earlier ones."""
        ...

    async def users_related(self, relation: Relation) -> list[UserName]:
        """Return the users whom the directory last named so, by name."""
        ...

    async def counts(self) -> Counts:
        """Return what waits."""
        ...

    async def prune(self, opened_before: int) -> None:
        """Forget what is kept only for a time."""
        ...

    async def version(self) -> int:
        """Return a number that changes whenever another connection has committed."""
        ...

    async def close(self) -> None:
        """Finish what is under way and close."""
        ...
