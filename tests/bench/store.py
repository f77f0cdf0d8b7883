"""Store commits, beside a plain SQLite commit that is synced to disk as well."""

import asyncio
import sqlite3
import time
from pathlib import Path
from typing import Final

from client_sdk import entropy
from client_sdk.machine.changes import Changes
from client_sdk.machine.rows import Message, MessageState
from client_sdk.stores.sqlite import SqliteStore
from client_sdk.wire.ids import DeviceAddress, UserName
from tests.bench.counts import Counts
from tests.bench.rows import Label, Row, clock, time_row

GROUP: Final = 16
TEXT: Final = "x" * 64
RAW_COMMIT: Final = "raw.commit"
RAW_GROUP: Final = "raw.commit_group"


async def measure_store(counts: Counts, folder: Path) -> list[Row]:
    """Return the rows of commits, ours and plain ones taken in turns."""
    store = SqliteStore.create(folder / "bench.db", None)
    raw = _raw_database(folder / "raw.sqlite3")
    alone: list[int] = []
    grouped: list[int] = []
    raw_alone: list[int] = []
    raw_grouped: list[int] = []
    try:
        for _ in range(counts.commits):
            alone.append(await _commit(store, 1))
            raw_alone.append(clock(lambda: _raw_commit(raw, 1)))
        for _ in range(counts.groups):
            grouped.append(await _commit(store, GROUP) // GROUP)
            raw_grouped.append(clock(lambda: _raw_commit(raw, GROUP)) // GROUP)
    finally:
        await store.close()
        raw.close()
    one, many = "store commit, one message", f"store commit, a message of a group of {GROUP}"
    return [
        time_row(Label(RAW_COMMIT, "raw: one synced SQLite commit, one row"), "us", raw_alone),
        time_row(
            Label(RAW_GROUP, f"raw: a row of a synced SQLite commit of {GROUP}"), "us", raw_grouped
        ),
        time_row(Label("store.commit", one, RAW_COMMIT), "us", alone),
        time_row(Label("store.commit_group", many, RAW_GROUP), "us", grouped),
    ]


async def _commit(store: SqliteStore, count: int) -> int:
    changes = [Changes(messages=(_message(),)) for _ in range(count)]
    began = time.perf_counter_ns()
    await asyncio.gather(*(store.commit(one) for one in changes))
    return time.perf_counter_ns() - began


def _message() -> Message:
    return Message(
        message_id=entropy.draw_message_id(),
        conversation=UserName("bob"),
        sender=UserName("alice"),
        sender_device=DeviceAddress("alice-1"),
        outgoing=True,
        state=MessageState.QUEUED,
        sent_at=0,
        text=TEXT,
    )


def _raw_database(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, text TEXT NOT NULL)")
    return database


def _raw_commit(database: sqlite3.Connection, count: int) -> None:
    database.execute("BEGIN IMMEDIATE")
    for _ in range(count):
        database.execute("INSERT INTO rows (text) VALUES (?)", (TEXT,))
    database.execute("COMMIT")
