"""What is asked with every message is answered by an index."""

import pytest

from client_sdk.stores.queries import StoreQueries
from client_sdk.stores.rows import LAST_SHOWN, NEXT_HANDOVER
from client_sdk.stores.sqlite import SqliteStore


async def plan(store: StoreQueries, sql: str) -> str:
    return " ".join(str(row[-1]) for row in await store._rows(f"EXPLAIN QUERY PLAN {sql}"))


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT {NEXT_HANDOVER}",
        f"SELECT {LAST_SHOWN}",
        "SELECT * FROM outbox WHERE next_at <= 5 ORDER BY next_at, position LIMIT 9",
        "SELECT MIN(next_at) FROM outbox",
        "SELECT COUNT(*), SUM(size) FROM outbox WHERE recipient = 'a'",
        "SELECT * FROM messages WHERE conversation = 'a' AND state = 'queued' ORDER BY position",
        "SELECT * FROM messages WHERE conversation = 'a' AND position < 9 ORDER BY position DESC",
        "SELECT * FROM messages WHERE state = 'ready' ORDER BY handover LIMIT 9",
        "SELECT * FROM messages WHERE message_id = x'00' AND sender = 'a'",
        "SELECT * FROM streams WHERE gap_since <= 5",
        "DELETE FROM outbox WHERE message_id = x'00' AND recipient = 'a'",
        "DELETE FROM opened WHERE opened_at < 5",
    ],
)
async def test_what_every_message_asks_is_answered_by_an_index(sql: str) -> None:
    store = SqliteStore.in_memory()
    found = await plan(store, sql)
    assert "INDEX" in found, found
    assert "TEMP B-TREE" not in found, found
    await store.close()
