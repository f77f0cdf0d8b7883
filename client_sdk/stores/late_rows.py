"""Which device is still to get which message, written inside a step's transaction."""

from collections.abc import Iterable
from typing import Final

from client_sdk.machine.changes import Changes
from client_sdk.machine.rows import CatchUp, Late
from client_sdk.stores.worker import Database

MAX_CATCH_UP: Final = 1000
"""Messages that a device which came into a list is sent of those before: the newest."""

_SENT: Final = (
    "WHERE outgoing AND sender_device = ?1 AND (conversation = ?2 OR sender = ?2)"
    " AND state IN ('planned', 'published', 'delivered', 'read')"
)
_ADD: Final = "INSERT OR IGNORE INTO late (device, message_id, user) VALUES (?, ?, ?)"


def write(database: Database, changes: Changes) -> None:
    """Write what of ``changes`` is about devices that come later, or have left."""
    for device in changes.devices_gone:
        for table, column in (
            ("sessions", "device"),
            ("streams", "device"),
            ("outbox", "recipient"),
            ("late", "device"),
            ("candidates", "sender"),
            ("resends_due", "device"),
            ("paces", "device"),
        ):
            database.execute(f"DELETE FROM {table} WHERE {column} = ?", (device,))  # noqa: S608 - constants
    for one in changes.catch_up:
        _add(database, _missed(database, one))
    _add(database, changes.late)
    if changes.late_done:
        database.executemany(
            "DELETE FROM late WHERE device = ? AND message_id = ?",
            [(one.device, one.message_id) for one in changes.late_done],
        )


def _add(database: Database, late: Iterable[Late]) -> None:
    for one in late:
        database.execute(_ADD, (one.device, one.message_id, one.user))
        # Only a copy goes to the sender's own user: it gets its number among all copies.
        database.execute(
            "UPDATE messages SET copy_sequence ="
            " (SELECT COALESCE(MAX(copy_sequence), 0) + 1 FROM messages"
            "  WHERE copy_sequence IS NOT NULL)"
            " WHERE message_id = ? AND sender = ? AND outgoing AND copy_sequence IS NULL",
            (one.message_id, one.user),
        )


def _missed(database: Database, catch_up: CatchUp) -> list[Late]:
    """Return what a device is to get: from the first message that it needs, all without a hole."""
    device, user, sender, since = catch_up
    rows = database.execute(
        f"SELECT message_id FROM (SELECT message_id, position FROM messages {_SENT}"  # noqa: S608 - constants
        f" AND position >= (SELECT MIN(position) FROM messages {_SENT}"
        "  AND (sent_at >= ?3 OR state IN ('planned', 'published') AND conversation = ?2))"
        " ORDER BY position DESC LIMIT ?4) ORDER BY position",
        (sender, user, since, MAX_CATCH_UP),
    ).fetchall()
    return [Late(row[0], device, user) for row in rows]
