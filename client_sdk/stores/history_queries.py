"""The queries about messages of the history, own and received."""

from collections.abc import Sequence
from typing import Any

from client_sdk.stores import rows
from client_sdk.stores.ports import (
    Delivery,
    StoredMessage,
)
from client_sdk.stores.statements import Statements
from client_sdk.wire.ids import MessageId, UserName
from client_sdk.wire.limits import MAX_COUNTER


class HistoryQueries(Statements):
    """The part of ``ClientStore`` about messages and their receipts."""

    async def known_messages(self, user: UserName, ids: Sequence[MessageId]) -> set[MessageId]:
        """Return which of these messages of a user are known."""
        found = await self._each(
            "SELECT message_id FROM messages WHERE message_id = ? AND sender = ?",
            [(one, user) for one in ids],
        )
        return {row[0] for row in found}

    async def sent_to(self, user: UserName, ids: Sequence[MessageId]) -> set[MessageId]:
        """Return which of these are own messages to a user that were encrypted."""
        found = await self._each(
            "SELECT message_id FROM messages WHERE message_id = ? AND outgoing"
            " AND conversation = ? AND state != 'queued'",
            [(one, user) for one in ids],
        )
        return {row[0] for row in found}

    async def ready(self, limit: int) -> list[StoredMessage]:
        """Return messages to hand over."""
        return await self._messages("WHERE state = 'ready' ORDER BY handover LIMIT ?", (limit,))

    async def requests(self) -> list[StoredMessage]:
        """Return the first waiting message of every stranger."""
        return await self._messages(
            "WHERE state = 'request' GROUP BY sender HAVING MIN(handover) ORDER BY handover", ()
        )

    async def waiting_requests(self, user: UserName) -> list[MessageId]:
        """Return the messages of one stranger that wait."""
        found = await self._rows(
            "SELECT message_id FROM messages WHERE conversation = ? AND state = 'request'"
            " ORDER BY handover",
            (user,),
        )
        return [row[0] for row in found]

    async def history(
        self, conversation: UserName, limit: int, before: int | None
    ) -> list[StoredMessage]:
        """Return the newest messages before a position, oldest first."""
        found = await self._messages(
            "WHERE conversation = ? AND position < ? ORDER BY position DESC LIMIT ?",
            (conversation, MAX_COUNTER if before is None else before, limit),
        )
        return found[::-1]

    async def message(self, message_id: MessageId) -> StoredMessage | None:
        """Return one own message."""
        found = await self._messages("WHERE message_id = ? AND outgoing", (message_id,))
        return found[0] if found else None

    async def deliveries(self, message_id: MessageId) -> list[Delivery]:
        """Return the receipts for one own message."""
        found = await self._rows(
            "SELECT device, delivered_at, read_at FROM receipts WHERE message_id = ?"
            " ORDER BY device",
            (message_id,),
        )
        return [Delivery(*row) for row in found]

    async def _messages(self, where: str, values: tuple[Any, ...]) -> list[StoredMessage]:
        found = await self._rows(
            f"SELECT position, {rows.MESSAGE_COLUMNS} FROM messages {where}",  # noqa: S608 - constants
            values,
        )
        return [StoredMessage(row[0], rows.message_of(row[1:])) for row in found]
