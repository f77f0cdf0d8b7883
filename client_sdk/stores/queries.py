"""The queries of a store on one database worker."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from client_sdk.machine.changes import (
    Changes,
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
from client_sdk.stores import rows
from client_sdk.stores.healing_rows import HealingQueries
from client_sdk.stores.identity_queries import IdentityQueries
from client_sdk.stores.late_queries import LateQueries
from client_sdk.stores.pin_queries import PinQueries
from client_sdk.stores.ports import (
    Backlog,
    Counts,
    Delivery,
    PublishedMark,
    Snapshot,
    StoredMessage,
)
from client_sdk.stores.worker import Database
from client_sdk.wire.directory import Contact, Relation
from client_sdk.wire.ids import DeviceAddress, EnvelopeId, MessageId, UserName
from client_sdk.wire.limits import MAX_COUNTER

Result = TypeVar("Result")
Row = rows.Row


class StoreQueries(HealingQueries, LateQueries, IdentityQueries, PinQueries):
    """All of ``ClientStore`` in SQL; what the file is and who may read it is decided elsewhere."""

    async def commit(self, changes: Changes, *, relaxed: bool = False) -> None:
        """Write all of ``changes`` or none, see ``ClientStore``."""
        await self._write(lambda database: rows.apply(database, changes), relaxed=relaxed)

    async def device(self) -> bytes | None:
        """Return the device's own encoded record."""
        found = await self._rows("SELECT record FROM device")
        return found[0][0] if found else None

    async def reserve(self, counter: str, count: int) -> int:
        """Take numbers of a counter for good."""
        return await self._write(lambda database: _reserve(database, counter, count))

    async def raise_counter(self, counter: str, value: int) -> None:
        """Make the next number of a counter greater than ``value``."""
        await self._execute(
            "INSERT INTO counters VALUES (?1, ?2) ON CONFLICT DO UPDATE"
            " SET value = MAX(value, excluded.value)",
            (counter, value),
        )

    async def snapshot(self, user: UserName) -> Snapshot:
        """Return all about one user."""
        return await self._worker.read(lambda database: _snapshot(database, user))

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

    async def publish_again(self, now: int) -> None:
        """Make every envelope due."""
        await self._execute("UPDATE outbox SET next_at = ?1 WHERE next_at > ?1", (now,))

    async def next_envelope_at(self) -> int | None:
        """Return when the next envelope is due."""
        found = await self._rows("SELECT MIN(next_at) FROM outbox")
        value: int | None = found[0][0]
        return value

    async def find_opened(
        self, keys: Sequence[tuple[DeviceAddress, EnvelopeId]]
    ) -> dict[tuple[DeviceAddress, EnvelopeId], OpenedEnvelope]:
        """Return which of these envelopes were opened before."""
        found = await self._each(
            "SELECT sender, envelope_id, digest, message_id, opened_at, position FROM opened"
            " WHERE sender = ? AND envelope_id = ?",
            keys,
        )
        return {(row[0], row[1]): OpenedEnvelope(*row) for row in found}

    async def known_messages(self, user: UserName, ids: Sequence[MessageId]) -> set[MessageId]:
        """Return which of these messages of a user are known."""
        found = await self._each(
            "SELECT message_id FROM messages WHERE message_id = ? AND sender = ?",
            [(one, user) for one in ids],
        )
        return {row[0] for row in found}

    async def knows_handshake(self, digest: bytes) -> bool:
        """Tell whether a handshake was accepted before."""
        return bool(await self._rows("SELECT 1 FROM handshakes WHERE digest = ?", (digest,)))

    async def load_prekeys(
        self, keys: Sequence[tuple[PrekeyKind, int]]
    ) -> dict[tuple[PrekeyKind, int], PrekeyRow]:
        """Return the private prekeys that are still there."""
        found = await self._each(
            "SELECT kind, id, private, created_at, uploaded FROM prekeys WHERE kind = ? AND id = ?",
            keys,
        )
        return {(PrekeyKind(row[0]), row[1]): _prekey_of(row) for row in found}

    async def waiting_prekeys(self, kind: PrekeyKind, limit: int) -> list[PrekeyRow]:
        """Return prekeys of a kind that the directory does not have yet."""
        found = await self._rows(
            "SELECT kind, id, private, created_at, uploaded FROM prekeys"
            " WHERE kind = ? AND uploaded = 0 ORDER BY id LIMIT ?",
            (kind, limit),
        )
        return [_prekey_of(row) for row in found]

    async def medium_term_prekeys(self) -> list[PrekeyRow]:
        """Return all signed and last-resort prekeys."""
        found = await self._rows(
            "SELECT kind, id, private, created_at, uploaded FROM prekeys WHERE kind IN (?, ?)",
            (PrekeyKind.SIGNED, PrekeyKind.KEM_LAST_RESORT),
        )
        return [_prekey_of(row) for row in found]

    async def receipts_due(self, limit: int) -> list[ReceiptDue]:
        """Return receipts that are owed."""
        found = await self._rows(
            "SELECT user, message_id, read, due_since FROM receipts_due"
            " ORDER BY due_since, message_id LIMIT ?",
            (limit,),
        )
        return [ReceiptDue(row[0], row[1], bool(row[2]), row[3]) for row in found]

    async def gaps_since(self, before: int) -> list[tuple[UserName, StreamPosition]]:
        """Return the streams that wait for a missing message."""

        def run(database: Database) -> list[tuple[UserName, StreamPosition]]:
            found = database.execute(
                "SELECT user, device, stream_id, next_sequence, gap_since, held, used_at"
                " FROM streams WHERE gap_since <= ?",
                (before,),
            ).fetchall()
            return [(row[0], rows.stream_of(database, row[1:])) for row in found]

        return await self._worker.read(run)

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

    async def contacts(self) -> list[Contact]:
        """Return the contacts as last fetched."""
        found = await self._rows("SELECT user, role, name FROM contacts ORDER BY user")
        return [Contact(*row) for row in found]

    async def replace_contacts(self, contacts: Sequence[Contact]) -> None:
        """Store newly fetched contacts."""
        await self._write(lambda database: _replace_contacts(database, contacts))

    async def users_related(self, relation: Relation) -> list[UserName]:
        """Return the users whom the directory last named so."""
        found = await self._rows(
            "SELECT user FROM peers WHERE relation = ? ORDER BY user", (relation,)
        )
        return [row[0] for row in found]

    async def counts(self) -> Counts:
        """Return what waits."""
        found = await self._rows(
            "SELECT COUNT(*) FILTER (WHERE state = 'queued'),"
            " COUNT(*) FILTER (WHERE state IN ('planned', 'published')),"
            " COUNT(*) FILTER (WHERE state = 'ready'),"
            " (SELECT COUNT(*) FROM prekeys WHERE kind = ? AND uploaded)"
            " FROM messages WHERE state IN ('queued', 'planned', 'published', 'ready')",
            (PrekeyKind.ONE_TIME,),
        )
        return Counts(*found[0])

    async def prune(self, opened_before: int) -> None:
        """Forget what is kept only for a time."""
        await self._execute("DELETE FROM opened WHERE opened_at < ?", (opened_before,))
        await self._execute(
            "DELETE FROM late WHERE message_id IN"
            " (SELECT message_id FROM messages WHERE outgoing AND sent_at < ?)",
            (opened_before,),
        )

    async def version(self) -> int:
        """Return a number that changes whenever another connection has committed."""
        found = await self._rows("PRAGMA data_version")
        return int(found[0][0])

    async def close(self) -> None:
        """Finish what is under way and close."""
        await self._worker.close()

    async def _write(self, run: Callable[[Database], Result], *, relaxed: bool = False) -> Result:
        return await self._worker.write(run, relaxed=relaxed)

    async def _execute(self, sql: str, values: tuple[Any, ...]) -> None:
        def run(database: Database) -> None:
            database.execute(sql, values)

        await self._write(run)

    async def _rows(self, sql: str, values: tuple[Any, ...] = ()) -> list[Row]:
        return await self._worker.read(lambda database: database.execute(sql, values).fetchall())

    async def _each(self, sql: str, keys: Sequence[tuple[Any, ...]]) -> list[Row]:
        def run(database: Database) -> list[Row]:
            found = (database.execute(sql, key).fetchone() for key in keys)
            return [row for row in found if row is not None]

        return await self._worker.read(run)

    async def _messages(self, where: str, values: tuple[Any, ...]) -> list[StoredMessage]:
        found = await self._rows(
            f"SELECT position, {rows.MESSAGE_COLUMNS} FROM messages {where}",  # noqa: S608 - constants
            values,
        )
        return [StoredMessage(row[0], rows.message_of(row[1:])) for row in found]


def _prekey_of(row: Row) -> PrekeyRow:
    return PrekeyRow(PrekeyKind(row[0]), row[1], row[2], row[3], bool(row[4]))


def _reserve(database: Database, counter: str, count: int) -> int:
    (last,) = database.execute(
        "INSERT INTO counters VALUES (?1, ?2) ON CONFLICT DO UPDATE"
        " SET value = value + excluded.value RETURNING value",
        (counter, count),
    ).fetchone()
    return int(last) - count + 1


def _snapshot(database: Database, user: UserName) -> Snapshot:
    database.execute("BEGIN")
    try:
        peer = database.execute(
            f"SELECT revision, {rows.PEER_COLUMNS} FROM peers WHERE user = ?",  # noqa: S608 - constants
            (user,),
        ).fetchone()
        sessions = database.execute(
            "SELECT device, user, record, start FROM sessions WHERE user = ?", (user,)
        ).fetchall()
        late = database.execute(
            "SELECT DISTINCT device FROM late WHERE user = ?", (user,)
        ).fetchall()
        streams = database.execute(
            "SELECT device, stream_id, next_sequence, gap_since, held, used_at FROM streams"
            " WHERE user = ?",
            (user,),
        ).fetchall()
        positions = tuple(rows.stream_of(database, row) for row in streams)
    finally:
        database.execute("COMMIT")
    return Snapshot(
        user,
        0 if peer is None else peer[0],
        Peer(user) if peer is None else rows.peer_of(peer[1:]),
        tuple(SessionRow(*row) for row in sessions),
        positions,
        frozenset(row[0] for row in late),
    )


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


def _replace_contacts(database: Database, contacts: Sequence[Contact]) -> None:
    database.execute("DELETE FROM contacts")
    database.executemany("INSERT INTO contacts VALUES (?, ?, ?)", contacts)
