"""The queries about devices that get messages later, or not any more."""

from collections.abc import Sequence

from client_sdk.machine.late import LateMessage
from client_sdk.machine.rows import Late, OutboxEnvelope
from client_sdk.stores import rows
from client_sdk.stores.worker import DatabaseWorker
from client_sdk.wire.ids import DeviceAddress, EnvelopeId, MessageId, UserName

_MESSAGE: str = ", ".join(f"messages.{one.strip()}" for one in rows.MESSAGE_COLUMNS.split(","))


class LateQueries:
    """The part of ``ClientStore`` about late messages."""

    _worker: DatabaseWorker

    async def users_with_late(self) -> list[UserName]:
        """Return the users of whom a device is still to get a message."""
        found = await self._find("SELECT DISTINCT user FROM late ORDER BY user")
        return [row[0] for row in found]

    async def late(self, device: DeviceAddress, limit: int) -> list[LateMessage]:
        """Return messages that a device is still to get, in the order of sending."""
        found = await self._find(
            f"SELECT late.user, messages.copy_sequence, {_MESSAGE} FROM late"  # noqa: S608 - constants
            " JOIN messages ON messages.message_id = late.message_id AND messages.outgoing"
            " WHERE late.device = ? ORDER BY messages.position LIMIT ?",
            (device, limit),
        )
        late = []
        for user, number, *columns in found:
            message = rows.message_of(tuple(columns))
            late.append(LateMessage(Late(message.message_id, device, user), message, number or 0))
        return late

    async def envelopes_for(self, device: DeviceAddress) -> list[EnvelopeId]:
        """Return the ids of all envelopes for one recipient device."""
        found = await self._find("SELECT envelope_id FROM outbox WHERE recipient = ?", (device,))
        return [row[0] for row in found]

    async def senders_of(
        self, user: UserName, ids: Sequence[MessageId]
    ) -> dict[MessageId, DeviceAddress]:
        """Return which device of a user has sent each of these messages."""
        found: dict[MessageId, DeviceAddress] = {}
        for one in ids:
            rows_found = await self._find(
                "SELECT sender_device FROM messages WHERE message_id = ? AND sender = ?",
                (one, user),
            )
            if rows_found:
                found[one] = rows_found[0][0]
        return found

    async def outlived(self, before: int, limit: int) -> list[OutboxEnvelope]:
        """Return unreceipted envelopes from before a time, oldest first."""
        found = await self._find(
            f"SELECT {rows.OUTBOX_COLUMNS} FROM outbox WHERE created_at < ?"  # noqa: S608 - constants
            " ORDER BY position LIMIT ?",
            (before, limit),
        )
        return [rows.envelope_of(row) for row in found]

    async def _find(self, sql: str, values: tuple[str | int | bytes, ...] = ()) -> list[rows.Row]:
        return await self._worker.read(lambda database: database.execute(sql, values).fetchall())
