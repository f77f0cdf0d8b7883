"""The queries of a store on one database worker."""

from collections.abc import Sequence

from client_sdk.machine.changes import Changes
from client_sdk.machine.rows import (
    OpenedEnvelope,
    Peer,
    PrekeyKind,
    PrekeyRow,
    ReceiptDue,
    SessionRow,
    StreamPosition,
)
from client_sdk.stores import rows
from client_sdk.stores.broker_queries import BrokerQueries
from client_sdk.stores.healing_rows import HealingQueries
from client_sdk.stores.history_queries import HistoryQueries
from client_sdk.stores.identity_queries import IdentityQueries
from client_sdk.stores.late_queries import LateQueries
from client_sdk.stores.outbox_queries import OutboxQueries
from client_sdk.stores.ports import (
    Counts,
    Snapshot,
)
from client_sdk.stores.statements import Statements
from client_sdk.stores.worker import Database
from client_sdk.wire.directory import Contact, Relation
from client_sdk.wire.ids import DeviceAddress, EnvelopeId, UserName

Row = rows.Row


class StoreQueries(
    OutboxQueries,
    HistoryQueries,
    HealingQueries,
    LateQueries,
    IdentityQueries,
    BrokerQueries,
    Statements,
):
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


def _replace_contacts(database: Database, contacts: Sequence[Contact]) -> None:
    database.execute("DELETE FROM contacts")
    database.executemany("INSERT INTO contacts VALUES (?, ?, ?)", contacts)
