"""Rows of healing, written into an open transaction, and the queries on them."""

from collections.abc import Sequence
from typing import Any, Final

from client_sdk.machine.changes import Changes
from client_sdk.machine.rows import Candidate, HealingPace, OutboxEnvelope, PaceKind, ResendDue
from client_sdk.stores.worker import Database, DatabaseWorker
from client_sdk.wire.ids import DeviceAddress, EnvelopeId, UserName

MAX_CANDIDATES: Final = 500
"""Candidates of one sender device: as many as it may have on the broker; the oldest give way."""

COMMIT_OFFSET: Final = "commit offset"
"""The counter that lifts ``commit_count`` over what a restored store had counted before."""

_CANDIDATE: Final = "sender, envelope_id, digest, session_tag, seen_at, asked_at"

_KEEP_CANDIDATE: Final = (
    "INSERT INTO candidates VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
    " digest = excluded.digest, session_tag = excluded.session_tag,"
    " asked_at = COALESCE(excluded.asked_at, asked_at)"
)


def apply(database: Database, changes: Changes) -> None:
    """Write the healing rows of ``changes`` inside the caller's transaction."""
    for sql, rows in (
        (
            _KEEP_CANDIDATE,
            changes.candidates,
        ),
        ("DELETE FROM candidates WHERE sender = ? AND envelope_id = ?", changes.candidates_gone),
        ("INSERT OR REPLACE INTO resends_due VALUES (?, ?, ?, ?)", changes.resends_due),
        ("DELETE FROM resends_due WHERE device = ? AND envelope_id = ?", changes.resends_done),
        ("INSERT OR REPLACE INTO paces VALUES (?, ?, ?, ?, ?, ?)", changes.paces),
    ):
        if rows:
            database.executemany(sql, rows)
    for device in changes.ask_again:
        database.execute("UPDATE candidates SET asked_at = NULL WHERE sender = ?", (device,))
    for sender in {one.sender for one in changes.candidates}:
        database.execute(
            "DELETE FROM candidates WHERE sender = ?1 AND envelope_id NOT IN (SELECT envelope_id"
            " FROM candidates WHERE sender = ?1 ORDER BY seen_at DESC, envelope_id LIMIT ?2)",
            (sender, MAX_CANDIDATES),
        )


class HealingQueries:
    """The part of ``ClientStore`` that healing reads, see ``HealingStore``."""

    _worker: DatabaseWorker

    async def is_used(self, sender: DeviceAddress, position: bytes) -> bool:
        """Tell whether an envelope was opened at this position."""
        found = await self._read(
            "SELECT 1 FROM opened WHERE sender = ? AND position = ? LIMIT 1", (sender, position)
        )
        return bool(found)

    async def candidates_to_ask(self, asked_before: int) -> list[Candidate]:
        """Return the candidates not asked for since ``asked_before``."""
        found = await self._read(
            f"SELECT {_CANDIDATE} FROM candidates WHERE asked_at IS NULL OR asked_at < ?"  # noqa: S608 - constants
            " ORDER BY seen_at, envelope_id",
            (asked_before,),
        )
        return [Candidate(*row) for row in found]

    async def candidates_seen(self, before: int, limit: int) -> list[Candidate]:
        """Return up to ``limit`` candidates first seen before a time."""
        found = await self._read(
            f"SELECT {_CANDIDATE} FROM candidates WHERE seen_at < ? LIMIT ?",  # noqa: S608 - constants
            (before, limit),
        )
        return [Candidate(*row) for row in found]

    async def resends_due(self, limit: int) -> list[ResendDue]:
        """Return up to ``limit`` resends that were asked for."""
        found = await self._read(
            "SELECT device, envelope_id, digest, due_since FROM resends_due"
            " ORDER BY device, due_since, envelope_id LIMIT ?",
            (limit,),
        )
        return [ResendDue(*row) for row in found]

    async def find_envelopes(
        self, recipient: DeviceAddress, ids: Sequence[EnvelopeId]
    ) -> dict[EnvelopeId, OutboxEnvelope]:
        """Return which of these envelopes for one device have no receipt yet."""

        def run(database: Database) -> dict[EnvelopeId, OutboxEnvelope]:
            rows = (
                database.execute(
                    "SELECT envelope_id, recipient, user, message_id, payload, created_at,"
                    " attempts, identity_key FROM outbox WHERE envelope_id = ? AND recipient = ?",
                    (one, recipient),
                ).fetchone()
                for one in ids
            )
            return {row[0]: OutboxEnvelope(*row) for row in rows if row is not None}

        return await self._worker.read(run)

    async def pace(self, device: DeviceAddress, kind: PaceKind) -> HealingPace | None:
        """Return how much healing there was with a device."""
        found = await self._read(
            "SELECT device, kind, began_at, length, requests, sessions FROM paces"
            " WHERE device = ? AND kind = ?",
            (device, kind),
        )
        return HealingPace(found[0][0], PaceKind(found[0][1]), *found[0][2:]) if found else None

    async def commit_count(self) -> int:
        """Return how often a user's rows were committed; it only grows, save for a rollback."""
        found = await self._read(
            "SELECT (SELECT COALESCE(SUM(revision), 0) FROM peers) +"
            " COALESCE((SELECT value FROM counters WHERE name = ?), 0)",
            (COMMIT_OFFSET,),
        )
        return int(found[0][0])

    async def users(self) -> list[UserName]:
        """Return every user whose rows are kept, by name."""
        return [row[0] for row in await self._read("SELECT user FROM peers ORDER BY user", ())]

    async def _read(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        return await self._worker.read(lambda database: database.execute(sql, values).fetchall())
