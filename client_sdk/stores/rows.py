"""Rows to records and back, and ``Changes`` written into an open transaction."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from client_sdk.machine.changes import Changes, UserRevision
from client_sdk.machine.rows import (
    Message,
    MessageState,
    OutboxEnvelope,
    Peer,
    PrekeyKind,
    Receipted,
    StateChange,
    StreamPosition,
)
from client_sdk.stores import healing_rows, late_rows
from client_sdk.stores.errors import StaleSnapshotError
from client_sdk.stores.worker import Database
from client_sdk.wire.codec import Codec, encode
from client_sdk.wire.directory import Relation
from client_sdk.wire.encoded_keys import ED25519_ENCODED_BYTES, AccountKey
from client_sdk.wire.errors import ProtocolError
from client_sdk.wire.ids import MessageId, user_of
from client_sdk.wire.limits import KIB

MESSAGE_COLUMNS: Final = (
    "message_id, conversation, sender, sender_device, outgoing, state, sent_at, text, data,"
    " content_type, reply_to, expires_at, stream_id, sequence, received_at, after_gap"
)
OUTBOX_COLUMNS: Final = (
    "envelope_id, recipient, user, message_id, payload, created_at, attempts, identity_key"
)
PEER_COLUMNS: Final = (
    "user, account_key, device_list, relation, role, name, accepted, blocked, next_sequence,"
    " verified, offered_list, shown_key, superseded, equivocation, absent"
)
NEXT_HANDOVER: Final = (
    "(SELECT COALESCE(MAX(handover), 0) + 1 FROM messages WHERE handover IS NOT NULL)"
)
"""The condition lets the partial index answer; without it every message scans the history."""
LAST_SHOWN: Final = (
    "(SELECT position FROM messages WHERE handover IS NOT NULL ORDER BY handover DESC LIMIT 1)"
)
SHOWN: Final = frozenset({MessageState.READY, MessageState.REQUEST})
"""States that give a message its place among those of the app."""

Row = tuple[Any, ...]  # what a database driver hands over


class _Held(NamedTuple):
    items: tuple[tuple[int, bytes], ...]


_HELD: Final = Codec(_Held, 64 * KIB)


def peer_of(row: Row) -> Peer:
    """Return a peer from its columns in the order of ``PEER_COLUMNS``."""
    relation = None if row[3] is None else Relation(row[3])
    flags = (bool(row[6]), bool(row[7]))
    identity = (bool(row[9]), *row[10:12], _keys_of(row[12]))
    return Peer._make(
        (*row[:3], relation, *row[4:6], *flags, row[8], *identity, bool(row[13]), row[14])
    )


def _keys_of(joined: bytes) -> tuple[AccountKey, ...]:
    starts = range(0, len(joined), ED25519_ENCODED_BYTES)
    return tuple(AccountKey(joined[at : at + ED25519_ENCODED_BYTES]) for at in starts)


def stream_of(database: Database, row: Row) -> StreamPosition:
    """Return a stream from device, stream_id, next_sequence, gap_since, held, used_at.

    What it holds back is read from the messages where the row is damaged.
    """
    held: Sequence[Row]
    try:
        held = _HELD.decode(row[4]).items
    except ProtocolError:
        held = database.execute(
            "SELECT sequence, message_id FROM messages WHERE sender_device = ? AND stream_id = ?"
            " AND state = 'held' ORDER BY sequence",
            row[:2],
        ).fetchall()
    waiting = tuple((number, MessageId(one)) for number, one in held)
    gap_since = row[3] if waiting else None
    return StreamPosition(row[0], row[1], row[2], gap_since, waiting, row[5])


def message_of(row: Row) -> Message:
    """Return a message from its columns in the order of ``MESSAGE_COLUMNS``."""
    return Message._make((*row[:4], bool(row[4]), MessageState(row[5]), *row[6:15], bool(row[15])))


def envelope_of(row: Row) -> OutboxEnvelope:
    """Return an envelope from its columns in the order of ``OUTBOX_COLUMNS``."""
    return OutboxEnvelope(*row)


def apply(database: Database, changes: Changes) -> None:
    """Write all of ``changes`` inside the caller's transaction.

    Raises:
        StaleSnapshotError: Rows that they are based on have moved on; roll back.
    """
    for entry in changes.based_on:
        _advance(database, entry)
    if changes.device is not None:
        database.execute("INSERT OR REPLACE INTO device VALUES (1, ?)", (changes.device,))
    _write_peers(database, changes)
    _write_messages(database, changes)
    _write_outbox(database, changes)
    late_rows.write(database, changes)
    _write_prekeys(database, changes)
    healing_rows.apply(database, changes)


def _advance(database: Database, entry: UserRevision) -> None:
    if entry.revision == 0:
        cursor = database.execute(
            "INSERT INTO peers (user, revision, role, name, accepted, blocked, next_sequence)"
            " VALUES (?, 1, '', '', 0, 0, 1) ON CONFLICT DO NOTHING",
            (entry.user,),
        )
    else:
        cursor = database.execute(
            "UPDATE peers SET revision = revision + 1 WHERE user = ? AND revision = ?", entry
        )
    if cursor.rowcount != 1:
        raise StaleSnapshotError("these rows were changed meanwhile; plan the step again")


def _write_all(database: Database, sql: str, values: Sequence[Row]) -> None:
    if values:  # most steps touch few tables, and an empty call costs as much as a small row
        database.executemany(sql, values)


def _write_peers(database: Database, changes: Changes) -> None:
    _write_all(
        database,
        "UPDATE peers SET account_key = ?, device_list = ?, relation = ?, role = ?, name = ?,"
        " accepted = ?, blocked = ?, next_sequence = ?, verified = ?, offered_list = ?,"
        " shown_key = ?, superseded = ?, equivocation = ?, absent = ? WHERE user = ?",
        [(*peer[1:12], b"".join(peer.superseded), *peer[13:], peer.user) for peer in changes.peers],
    )
    _write_all(database, "INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?)", changes.sessions)
    streams = {(one.device, one.stream_id): one for one in changes.streams}  # the last one stands
    _write_all(
        database,
        "INSERT OR REPLACE INTO streams VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (s.device, s.stream_id, user_of(s.device), *s[2:4], _held(s), s.used_at)
            for s in streams.values()
            if not s.gone
        ],
    )
    _write_all(
        database,
        "DELETE FROM streams WHERE device = ? AND stream_id = ?",
        [key for key, one in streams.items() if one.gone],
    )
    _write_all(
        database,
        "INSERT OR IGNORE INTO handshakes (digest, signed_prekey_id) VALUES (?, ?)",
        changes.handshakes,
    )


def _held(stream: StreamPosition) -> bytes:
    return encode(_Held(stream.held))


def _write_messages(database: Database, changes: Changes) -> None:
    for message in changes.messages:
        database.execute(
            f"INSERT INTO messages ({MESSAGE_COLUMNS}, handover) VALUES"  # noqa: S608 - constants
            f" (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
            f" CASE WHEN ?6 = 'ready' THEN {NEXT_HANDOVER} END)",
            message,
        )
    _write_all(
        database,
        "UPDATE messages SET state = 'planned', stream_id = ?, sequence = ?"
        " WHERE message_id = ? AND outgoing",
        [(p.stream_id, p.sequence, p.message_id) for p in changes.planned],
    )
    for change in changes.states:
        _write_state(database, change)
    for receipt in changes.receipted:
        _write_receipt(database, receipt)


def _write_state(database: Database, change: StateChange) -> None:
    if change.state in SHOWN:
        # One that waited takes its place in the history now: behind what was shown before it.
        database.execute(
            "UPDATE messages SET position = (SELECT MAX(position) + 1 FROM messages)"  # noqa: S608 - constants
            " WHERE message_id = ? AND sender = ? AND state = 'held'"
            f" AND position < {LAST_SHOWN}",
            (change.message_id, change.sender),
        )
        handover = NEXT_HANDOVER
    elif change.state is MessageState.COPIED:
        database.execute(  # the history shows copies in the order of their sending
            "UPDATE messages SET position = (SELECT MAX(position) + 1 FROM messages)"
            " WHERE message_id = ? AND sender = ? AND state = 'held'"
            " AND position < (SELECT MAX(position) FROM messages)",
            (change.message_id, change.sender),
        )
        handover = "handover"
    else:
        handover = "handover"
    database.execute(
        f"UPDATE messages SET state = ?, after_gap = ?, handover = {handover}"  # noqa: S608 - constants
        " WHERE message_id = ? AND sender = ?",
        (change.state, change.after_gap, change.message_id, change.sender),
    )


def _write_receipt(database: Database, receipt: Receipted) -> None:
    column = "read_at" if receipt.read else "delivered_at"
    cursor = database.execute(
        "UPDATE messages SET state = CASE WHEN ?1 OR state = 'read' THEN 'read' ELSE 'delivered'"
        " END WHERE message_id = ?2 AND outgoing AND conversation = ?3 AND state != 'queued'",
        (receipt.read, receipt.message_id, receipt.user),
    )
    if cursor.rowcount == 1:
        database.execute(
            f"INSERT INTO receipts (message_id, device, {column}) VALUES (?, ?, ?) ON CONFLICT"  # noqa: S608 - constants
            f" DO UPDATE SET {column} = COALESCE({column}, excluded.{column})",
            (receipt.message_id, receipt.device, receipt.at),
        )


def _write_outbox(database: Database, changes: Changes) -> None:
    _write_all(
        database,
        f"INSERT INTO outbox ({OUTBOX_COLUMNS}, size, next_at)"  # noqa: S608 - constants
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [(*envelope, len(envelope.payload), envelope.created_at) for envelope in changes.envelopes],
    )
    _write_all(
        database,
        "DELETE FROM outbox WHERE envelope_id = ?",
        [(one,) for one in changes.envelopes_gone],
    )
    _write_all(
        database,
        "DELETE FROM outbox WHERE message_id = ? AND recipient = ?",
        [(receipt.message_id, receipt.device) for receipt in changes.receipted],
    )
    _write_all(database, "INSERT OR REPLACE INTO opened VALUES (?, ?, ?, ?, ?, ?)", changes.opened)
    _write_all(
        database,
        "INSERT OR IGNORE INTO receipts_due (user, message_id, read, due_since)"
        " VALUES (?, ?, ?, ?)",
        changes.receipts_due,
    )
    _write_all(
        database,
        "DELETE FROM receipts_due WHERE user = ? AND message_id = ? AND read = ?",
        [one[:3] for one in changes.receipts_sent],
    )


def _write_prekeys(database: Database, changes: Changes) -> None:
    _write_all(database, "INSERT INTO prekeys VALUES (?, ?, ?, ?, ?)", changes.prekeys)
    _write_all(
        database,
        "UPDATE prekeys SET uploaded = 1 WHERE kind = ? AND id = ?",
        changes.prekeys_uploaded,
    )
    for kind, key_id in changes.prekeys_spent:
        cursor = database.execute("DELETE FROM prekeys WHERE kind = ? AND id = ?", (kind, key_id))
        if cursor.rowcount != 1:
            raise StaleSnapshotError("a one-time prekey was spent meanwhile; plan the step again")
        if kind is PrekeyKind.SIGNED:  # no handshake with it can be accepted any more
            database.execute("DELETE FROM handshakes WHERE signed_prekey_id = ?", (key_id,))
