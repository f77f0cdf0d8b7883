"""Several owners of one store's file: readers, other tasks, other processes."""

# ruff: noqa: ASYNC220, ASYNC240 - nothing else runs in these loops

import asyncio
import subprocess
import sys
from pathlib import Path

from client_sdk.machine.changes import Changes, UserRevision
from client_sdk.machine.rows import MessageState, PrekeyKind, PrekeyRow, StateChange
from client_sdk.stores.errors import StaleSnapshotError
from client_sdk.stores.sqlite import SqliteStore
from tests.contract.client_stores import incoming, outgoing
from tests.unit.stores.store_files import BOB, PASSPHRASE, raw


async def test_a_reader_elsewhere_delays_the_emptying_and_does_not_end_it(path: Path) -> None:
    store = SqliteStore.create(path, PASSPHRASE)
    await store.commit(Changes(device=b"x"))
    reader = raw(path)
    store._worker._database.execute("PRAGMA busy_timeout = 50")
    reader.execute("BEGIN")
    reader.execute("SELECT record FROM device").fetchall()
    await store.commit(Changes(device=b"y"))
    log = Path(f"{path}-wal")
    await asyncio.sleep(1.3)  # one idle time passes with the reader there
    assert log.stat().st_size > 0
    reader.execute("COMMIT")
    async with asyncio.timeout(20):
        while log.stat().st_size:  # noqa: ASYNC110 - the file rings no bell
            await asyncio.sleep(0.05)
    reader.close()
    await store.close()


async def test_two_owners_of_one_file_never_both_win_one_revision(path: Path) -> None:
    first = SqliteStore.create(path, PASSPHRASE)
    second = SqliteStore.open(path, PASSPHRASE)
    seen = await second.version()
    commits = [
        one.commit(Changes(based_on=(UserRevision(BOB, 0),), messages=(outgoing(),)))
        for one in (first, second) * 3
    ]
    outcomes = await asyncio.gather(*commits, return_exceptions=True)
    assert [type(one) for one in outcomes].count(StaleSnapshotError) == 5
    assert len(await first.queued(BOB, 9)) == len(await second.queued(BOB, 9)) == 1
    await first.commit(Changes(device=b"seen by the other"))
    assert await second.version() != seen
    assert await second.device() == b"seen by the other"
    numbers = await asyncio.gather(*(one.reserve("n", 1) for one in (first, second) * 20))
    assert sorted(numbers) == list(range(1, 41))
    await second.close()
    await first.close()


SPEND = """
import asyncio, sys
from pathlib import Path
from client_sdk.machine.changes import Changes
from client_sdk.machine.rows import PrekeyKind
from client_sdk.stores.errors import StaleSnapshotError
from client_sdk.stores.sqlite import SqliteStore

async def main():
    store = SqliteStore.open(Path(sys.argv[1]), None)
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(1, 51):
        try:
            await store.commit(Changes(prekeys_spent=((PrekeyKind.ONE_TIME, number),)))
        except StaleSnapshotError:
            continue
        print(number, flush=True)
    await store.close()

asyncio.run(main())
"""


async def test_two_processes_spend_each_prekey_once(path: Path) -> None:
    store = SqliteStore.create(path, None)
    rows = tuple(PrekeyRow(PrekeyKind.ONE_TIME, n, bytes(32), 1) for n in range(1, 51))
    await store.commit(Changes(prekeys=rows))
    await store.close()
    children = [
        subprocess.Popen(
            [sys.executable, "-c", SPEND, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    spent: list[int] = []
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    for child in children:
        output, _ = child.communicate(timeout=60)
        assert child.returncode == 0
        spent += map(int, output.split())
    assert sorted(spent) == list(range(1, 51))


async def test_a_write_waits_for_another_process_without_holding_up_the_loop(path: Path) -> None:
    store = SqliteStore.create(path, PASSPHRASE)
    other = raw(path)
    other.execute("BEGIN IMMEDIATE")
    writing = asyncio.ensure_future(store.commit(Changes(device=b"later")))
    turns = 0
    while turns < 20:
        await asyncio.sleep(0.005)
        turns += 1
    assert not writing.done()
    other.execute("COMMIT")
    await writing
    assert await store.device() == b"later"
    other.close()
    await store.close()


async def test_a_store_serves_while_commits_of_many_tasks_share_transactions(path: Path) -> None:
    store = SqliteStore.create(path, PASSPHRASE)
    messages = [incoming(str(number), number + 1) for number in range(200)]
    await asyncio.gather(
        *(
            store.commit(
                Changes(
                    messages=(one,),
                    states=(StateChange(one.message_id, one.sender, MessageState.READY),),
                )
            )
            for one in messages
        )
    )
    assert len(await store.ready(999)) == 200
    await store.close()
