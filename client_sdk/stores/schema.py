"""The tables of a device's store and how older ones become today's."""

from typing import Final

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    CREATE TABLE device (id INTEGER PRIMARY KEY CHECK (id = 1), record BLOB NOT NULL);
    CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE peers (
        user TEXT PRIMARY KEY, revision INTEGER NOT NULL, account_key BLOB, device_list BLOB,
        relation TEXT, role TEXT NOT NULL, name TEXT NOT NULL, accepted INTEGER NOT NULL,
        blocked INTEGER NOT NULL, next_sequence INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE contacts (user TEXT PRIMARY KEY, role TEXT NOT NULL, name TEXT NOT NULL)
        WITHOUT ROWID;
    CREATE TABLE sessions (device TEXT PRIMARY KEY, user TEXT NOT NULL, record BLOB NOT NULL);
    CREATE INDEX sessions_of_user ON sessions (user);
    CREATE TABLE streams (
        device TEXT NOT NULL, stream_id BLOB NOT NULL, user TEXT NOT NULL,
        next_sequence INTEGER NOT NULL, gap_since INTEGER, held BLOB NOT NULL,
        PRIMARY KEY (device, stream_id)
    ) WITHOUT ROWID;
    CREATE INDEX streams_of_user ON streams (user);
    CREATE INDEX streams_with_gap ON streams (gap_since) WHERE gap_since IS NOT NULL;
    CREATE TABLE messages (
        position INTEGER PRIMARY KEY AUTOINCREMENT, message_id BLOB NOT NULL,
        conversation TEXT NOT NULL, sender TEXT NOT NULL, sender_device TEXT NOT NULL,
        outgoing INTEGER NOT NULL, state TEXT NOT NULL, sent_at INTEGER NOT NULL,
        text TEXT, data BLOB, content_type TEXT, reply_to BLOB, expires_at INTEGER,
        stream_id BLOB, sequence INTEGER NOT NULL, received_at INTEGER,
        after_gap INTEGER NOT NULL, handover INTEGER,
        UNIQUE (message_id, sender)
    );
    CREATE INDEX messages_of_conversation ON messages (conversation, position);
    CREATE INDEX messages_queued ON messages (conversation, position) WHERE state = 'queued';
    CREATE INDEX messages_under_way ON messages (sent_at)
        WHERE state IN ('queued', 'planned', 'published');
    CREATE INDEX messages_handover ON messages (handover) WHERE handover IS NOT NULL;
    CREATE INDEX messages_ready ON messages (handover) WHERE state = 'ready';
    CREATE TABLE outbox (
        position INTEGER PRIMARY KEY AUTOINCREMENT, envelope_id TEXT NOT NULL UNIQUE,
        recipient TEXT NOT NULL, user TEXT NOT NULL, message_id BLOB, payload BLOB NOT NULL,
        size INTEGER NOT NULL, created_at INTEGER NOT NULL, attempts INTEGER NOT NULL,
        next_at INTEGER NOT NULL
    );
    CREATE INDEX outbox_due ON outbox (next_at, position);
    CREATE INDEX outbox_of_recipient ON outbox (recipient, size);
    CREATE INDEX outbox_of_message ON outbox (message_id) WHERE message_id IS NOT NULL;
    CREATE TABLE opened (
        sender TEXT NOT NULL, envelope_id TEXT NOT NULL, digest BLOB NOT NULL, message_id BLOB,
        opened_at INTEGER NOT NULL, PRIMARY KEY (sender, envelope_id)
    ) WITHOUT ROWID;
    CREATE INDEX opened_by_age ON opened (opened_at);
    CREATE TABLE receipts_due (
        user TEXT NOT NULL, message_id BLOB NOT NULL, read INTEGER NOT NULL,
        due_since INTEGER NOT NULL, PRIMARY KEY (user, read, message_id)
    ) WITHOUT ROWID;
    CREATE TABLE receipts (
        message_id BLOB NOT NULL, device TEXT NOT NULL, delivered_at INTEGER, read_at INTEGER,
        PRIMARY KEY (message_id, device)
    ) WITHOUT ROWID;
    CREATE TABLE handshakes (digest BLOB PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE prekeys (
        kind INTEGER NOT NULL, id INTEGER NOT NULL, private BLOB NOT NULL,
        created_at INTEGER NOT NULL, uploaded INTEGER NOT NULL, PRIMARY KEY (kind, id)
    ) WITHOUT ROWID;
    """,
    "ALTER TABLE streams ADD COLUMN used_at INTEGER NOT NULL DEFAULT 0",
    """
    ALTER TABLE opened ADD COLUMN position BLOB;
    CREATE INDEX opened_at_position ON opened (sender, position) WHERE position IS NOT NULL;
    ALTER TABLE outbox ADD COLUMN identity_key BLOB NOT NULL DEFAULT x'';
    CREATE TABLE candidates (
        sender TEXT NOT NULL, envelope_id TEXT NOT NULL, digest BLOB NOT NULL,
        session_tag BLOB NOT NULL, seen_at INTEGER NOT NULL, asked_at INTEGER,
        PRIMARY KEY (sender, envelope_id)
    ) WITHOUT ROWID;
    CREATE TABLE resends_due (
        device TEXT NOT NULL, envelope_id TEXT NOT NULL, digest BLOB NOT NULL,
        due_since INTEGER NOT NULL, PRIMARY KEY (device, envelope_id)
    ) WITHOUT ROWID;
    CREATE TABLE paces (
        device TEXT NOT NULL, kind TEXT NOT NULL, began_at INTEGER NOT NULL,
        length INTEGER NOT NULL, requests INTEGER NOT NULL, sessions INTEGER NOT NULL,
        PRIMARY KEY (device, kind)
    ) WITHOUT ROWID;
    """,
    """
    ALTER TABLE peers ADD COLUMN verified INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE peers ADD COLUMN offered_list BLOB;
    ALTER TABLE peers ADD COLUMN shown_key BLOB;
    ALTER TABLE peers ADD COLUMN superseded BLOB NOT NULL DEFAULT x'';
    ALTER TABLE handshakes ADD COLUMN signed_prekey_id INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX handshakes_of_prekey ON handshakes (signed_prekey_id);
    """,
    """
    ALTER TABLE sessions ADD COLUMN start INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE peers ADD COLUMN equivocation INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE peers ADD COLUMN absent BLOB NOT NULL DEFAULT x'';
    ALTER TABLE messages ADD COLUMN copy_sequence INTEGER;
    CREATE INDEX messages_copied ON messages (copy_sequence) WHERE copy_sequence IS NOT NULL;
    CREATE TABLE late (
        device TEXT NOT NULL, message_id BLOB NOT NULL, user TEXT NOT NULL,
        PRIMARY KEY (device, message_id)
    ) WITHOUT ROWID;
    CREATE INDEX late_of_user ON late (user, device);
    """,
    """
    CREATE TABLE pinned_ca (id INTEGER PRIMARY KEY CHECK (id = 1), certificate BLOB NOT NULL);
    """,
    """
    CREATE TABLE last_broker (id INTEGER PRIMARY KEY CHECK (id = 1), url TEXT NOT NULL);
    """,
)
"""One script a version: script n takes a store from version n - 1 to n."""

SCHEMA_VERSION: Final = len(MIGRATIONS)
