"""The queries about what is to be sent: messages, and envelopes until they are receipted."""

from collections.abc import Sequence

from client_sdk.machine.rows import Message, OutboxEnvelope
from client_sdk.stores import rows
from client_sdk.stores.ports import (
    Backlog,
    PublishedMark,
)
from client_sdk.stores.statements import Statements
from client_sdk.stores.worker import Database
from client_sdk.wire.ids import DeviceAddress, MessageId, UserName


class OutboxQueries(Statements):
    """The part of ``ClientStore`` about what is to be sent."""

    async def users_with_queued(self) -> list[UserName]:
        """Return the users to whom messages wait for their envelopes."""
        found = await self._rows(
            "SELECT conversation FROM messages WHERE state = 'queued'"
            " GROUP BY conversation ORDER BY MIN(position)"
        )
        return [row[0] for row in found]

    async def queued(self, user: UserName, limit: int) -> list[Message]:
        """Return queued messages to one user."""
        found = await self._rows(
            f"SELECT {rows.MESSAGE_COLUMNS} FROM messages"  # noqa: S608 - constants
            " WHERE conversation = ? AND state = 'queued' ORDER BY position LIMIT ?",
            (user, limit),
        )
        return [rows.message_of(row) for row in found]

    async def backlog(self, recipient: DeviceAddress) -> Backlog:
        """Return how much lies unreceipted for one recipient device."""
        found = await self._rows(
            "SELECT COUNT(*), COALESCE(SUM(size), 0) FROM outbox WHERE recipient = ?", (recipient,)
        )
        return Backlog(*found[0])

    async def due_envelopes(self, now: int, limit: int) -> list[OutboxEnvelope]:
        """Return envelopes to publish by ``now``."""
        found = await self._rows(
            f"SELECT {rows.OUTBOX_COLUMNS} FROM outbox WHERE next_at <= ?"  # noqa: S608 - constants
            " ORDER BY next_at, position LIMIT ?",
            (now, limit),
        )
        return [rows.envelope_of(row) for row in found]

    async def mark_published(self, marks: Sequence[PublishedMark]) -> None:
        """Note the broker's acknowledgements."""
        await self._write(lambda database: _mark_published(database, marks), relaxed=True)

    async def postpone(self, recipient: DeviceAddress, next_at: int) -> None:
        """Make the envelopes for ``recipient`` due later."""
        await self._execute(
            "UPDATE outbox SET next_at = ?1 WHERE recipient = ?2 AND next_at < ?1",
            (next_at, recipient),
        )

    async def resume(self, recipient: DeviceAddress, now: int) -> None:
        """Make due what was never published for ``recipient``."""
        await self._execute(
            "UPDATE outbox SET next_at = ?1 WHERE recipient = ?2 AND attempts = 0 AND next_at > ?1",
            (now, recipient),
        )

    async def publish_again(self, now: int) -> None:
        """Make every envelope due."""
        await self._execute("UPDATE outbox SET next_at = ?1 WHERE next_at > ?1", (now,))

    async def next_envelope_at(self) -> int | None:
        """Return when the next envelope is due."""
        found = await self._rows("SELECT MIN(next_at) FROM outbox")
        value: int | None = found[0][0]
        return value

    async def overdue(self, sent_before: int, now: int) -> list[Message]:
        """Return own undelivered messages whose time is over."""
        found = await self._rows(
            f"SELECT {rows.MESSAGE_COLUMNS} FROM messages"  # noqa: S608 - constants
            " WHERE state IN ('queued', 'planned', 'published')"
            " AND (sent_at < ? OR expires_at <= ?) LIMIT 100",
            (sent_before, now),
        )
        return [rows.message_of(row) for row in found]

    async def envelopes_of(self, message_id: MessageId) -> list[OutboxEnvelope]:
        """Return the envelopes of a message that have no receipt yet."""
        found = await self._rows(
            f"SELECT {rows.OUTBOX_COLUMNS} FROM outbox WHERE message_id = ?",  # noqa: S608 - constants
            (message_id,),
        )
        return [rows.envelope_of(row) for row in found]


def _mark_published(database: Database, marks: Sequence[PublishedMark]) -> None:
    for mark in marks:
        row = database.execute(
            "UPDATE outbox SET attempts = attempts + 1, next_at = ? WHERE envelope_id = ?"
            " RETURNING message_id",
            (mark.next_at, mark.envelope_id),
        ).fetchone()
        if row is None:
            continue
        if row[0] is None:
            database.execute("DELETE FROM outbox WHERE envelope_id = ?", (mark.envelope_id,))
        else:
            database.execute(
                "UPDATE messages SET state = 'published' WHERE message_id = ? AND outgoing"
                " AND state = 'planned'",
                (row[0],),
            )
