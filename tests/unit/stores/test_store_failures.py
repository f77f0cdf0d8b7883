"""What a store does where a disk is full, a row is damaged, or SQLite says no."""

# ruff: noqa: ASYNC221 - nothing else runs in these loops

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from sqlcipher3 import dbapi2 as sqlcipher

from client_sdk.machine.changes import Changes, UserRevision
from client_sdk.machine.rows import MessageState
from client_sdk.stores.errors import StorageFullError, StoreCorruptError, StoreError
from client_sdk.stores.sqlite import SqliteStore
from client_sdk.stores.worker import Database, store_error
from tests.contract.client_stores import incoming, outgoing
from tests.unit.stores.store_files import BOB, make

FILL = """
import asyncio, resource, signal, sys
from pathlib import Path
from client_sdk.machine.changes import Changes, UserRevision
from client_sdk.stores.errors import StorageFullError
from client_sdk.stores.sqlite import SqliteStore
from client_sdk.wire.ids import UserName

async def main():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    store = SqliteStore.open(Path(sys.argv[1]), None)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, hard))
    stored = full = 0
    for number in range(40):
        changes = Changes(
            based_on=(UserRevision(UserName("bob"), stored),), device=bytes([number]) * 60_000
        )
        try:
            await store.commit(changes)
            stored += 1
        except StorageFullError as error:
            assert "free some space" in str(error), error
            full += 1
    assert stored and full, (stored, full)
    assert await store.device() == bytes([stored - 1]) * 60_000
    assert (await store.snapshot(UserName("bob"))).revision == stored
    many = [store.commit(Changes(device=b"x" * 60_000)) for _ in range(4)]
    outcomes = await asyncio.gather(*many, return_exceptions=True)
    assert {type(one) for one in outcomes} == {StorageFullError}, outcomes
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await store.commit(Changes(device=b"space again"))
    await store.close()
    store = SqliteStore.open(Path(sys.argv[1]), None)
    assert await store.device() == b"space again"
    await store.close()
    print("done")

asyncio.run(main())
"""


async def test_a_full_disk_refuses_commits_and_is_forgotten_when_there_is_space(path: Path) -> None:
    await make(path, None)
    found = subprocess.run(
        [sys.executable, "-c", FILL, str(path)],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert (found.stdout, found.stderr) == ("done\n", "")


CREATE_FULL = """
import resource, signal, sys
from pathlib import Path
from client_sdk.stores.errors import StorageFullError
from client_sdk.stores.sqlite import SqliteStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    SqliteStore.create(Path(sys.argv[1]), None)
except StorageFullError as error:
    print(error.code)
"""


@pytest.mark.parametrize("limit", [0, 10_000])
def test_no_half_store_is_left_where_there_is_no_space(path: Path, limit: int) -> None:
    found = subprocess.run(
        [sys.executable, "-c", CREATE_FULL, str(path), str(limit)],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert (found.stdout, found.stderr) == ("storage_full\n", "")
    assert list(path.parent.iterdir()) == []


def test_errors_of_the_database_say_what_they_mean() -> None:
    for text, expected in (
        ("database or disk is full", StorageFullError),
        ("disk I/O error", StorageFullError),
        ("database disk image is malformed", StoreCorruptError),
        ("file is not a database", StoreCorruptError),
        ("database is locked", StoreError),
    ):
        assert type(store_error(sqlcipher.OperationalError(text))) is expected


async def test_a_group_that_sqlite_took_back_fails_as_a_whole() -> None:
    store = SqliteStore.in_memory()

    def take_back(database: Database) -> None:
        database.execute("ROLLBACK")
        raise sqlcipher.OperationalError("database or disk is full")

    worker = store._worker
    jobs = [store.commit(Changes(messages=(outgoing(),))) for _ in range(3)]
    outcomes = await asyncio.gather(
        *jobs[:1], worker.write(take_back), *jobs[1:], return_exceptions=True
    )
    taken_back = [one for one in outcomes if one is not None]
    assert {type(one) for one in taken_back} == {StorageFullError}
    assert len(await store.queued(BOB, 9)) == len(outcomes) - len(taken_back)
    await store.close()


async def test_a_write_whose_caller_was_cancelled_stands_all_the_same() -> None:
    store = SqliteStore.in_memory()
    task = asyncio.ensure_future(store.commit(Changes(device=b"abandoned")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await store.commit(Changes(messages=(outgoing(),)))
    assert await store.device() == b"abandoned"
    await store.close()


async def test_a_damaged_stream_row_is_made_anew_of_the_messages_that_it_held() -> None:
    store = SqliteStore.in_memory()
    held = [incoming("later", 7), incoming("sooner", 5)]
    shown = incoming("shown", 3, state=MessageState.READY)
    await store.commit(Changes(based_on=(UserRevision(BOB, 0),), messages=(*held, shown)))
    values = (held[0].sender_device, held[0].stream_id)
    await store._execute("INSERT INTO streams VALUES (?, ?, 'bob', 4, 5, x'FF', 0)", values)
    ((user, stream),) = await store.gaps_since(9)
    assert (user, stream.gap_since) == (BOB, 5)
    assert stream.held == ((5, held[1].message_id), (7, held[0].message_id))
    assert (await store.snapshot(BOB)).streams == (stream,)
    await store._execute("UPDATE messages SET state = 'handled'", ())
    (left,) = (await store.snapshot(BOB)).streams
    assert (left.held, left.gap_since) == ((), None)
    await store.close()
