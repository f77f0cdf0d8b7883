"""The store as a file: who may open it, what lies in its bytes, and stores of earlier versions."""

# ruff: noqa: ASYNC240 - nothing else runs in these loops

import asyncio
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from client_sdk.machine.changes import Changes, UserRevision
from client_sdk.machine.rows import PaceKind, Peer, PrekeyKind, PrekeyRow, SessionRow
from client_sdk.stores.errors import (
    StoreCorruptError,
    StoreError,
    StoreLockedError,
    StoreMissingError,
    StoreTooNewError,
)
from client_sdk.stores.schema import MIGRATIONS, SCHEMA_VERSION
from client_sdk.stores.sqlite import SqliteStore, key_file, remove_store, store_exists
from client_sdk.stores.worker import Database
from client_sdk.wire.ids import DeviceAddress, EnvelopeId, UserName
from tests.contract.client_stores import outgoing
from tests.unit.stores.store_files import BOB, PASSPHRASE, make, raw


@pytest.mark.parametrize("passphrase", [PASSPHRASE, None])
async def test_a_store_opens_again_with_its_secret(path: Path, passphrase: str | None) -> None:
    await make(path, passphrase)
    store = SqliteStore.open(path, passphrase)
    assert await store.device() == b"the record"
    await store.close()
    assert key_file(path).exists() is (passphrase is None)


async def test_all_files_are_for_their_owner_only(path: Path) -> None:
    store = SqliteStore.create(path, None)
    await store.commit(Changes(device=b"x"))
    names = {one.name for one in path.parent.iterdir()}
    assert names == {"device.db", "device.db-wal", "device.db-shm", "device.db.key"}
    for one in path.parent.iterdir():
        assert stat.S_IMODE(one.stat().st_mode) == 0o600, one.name
    await store.close()
    assert {one.name for one in path.parent.iterdir()} == {"device.db", "device.db.key"}


@pytest.mark.parametrize("passphrase", ["wrong", "", PASSPHRASE + " ", None])
async def test_a_wrong_or_missing_passphrase_is_told_and_changes_nothing(
    path: Path, passphrase: str | None
) -> None:
    await make(path)
    before = path.read_bytes()
    with pytest.raises(StoreLockedError):
        SqliteStore.open(path, passphrase)
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == ["device.db"]


@pytest.mark.parametrize("key", [b"", b"k" * 31, b"k" * 33, b"k" * 32])
async def test_a_damaged_or_foreign_key_file_is_told(path: Path, key: bytes) -> None:
    await make(path, None)
    key_file(path).write_bytes(key)
    with pytest.raises(StoreLockedError):
        SqliteStore.open(path, None)


async def test_a_key_file_that_cannot_be_read_is_told(path: Path) -> None:
    await make(path, None)
    key_file(path).unlink()
    key_file(path).mkdir()
    with pytest.raises(StoreLockedError):
        SqliteStore.open(path, None)


@pytest.mark.parametrize("content", [b"", b"short", b"SQLite format 3\x00" * 300, b"\x00" * 8192])
def test_a_file_that_is_no_store_is_told_and_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreLockedError):
        SqliteStore.open(path, PASSPHRASE)
    assert path.read_bytes() == content


async def test_a_truncated_store_is_told(path: Path) -> None:
    await make(path)
    with path.open("r+b") as file:
        file.truncate(6000)
    with pytest.raises((StoreCorruptError, StoreLockedError)):
        SqliteStore.open(path, PASSPHRASE)


async def test_a_store_with_a_changed_page_is_told_when_it_is_read(path: Path) -> None:
    await make(path)
    content = bytearray(path.read_bytes())
    for offset in range(4096, len(content), 4096):
        content[offset + 100] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreError):
        await read_device(path)


async def read_device(path: Path) -> bytes | None:
    store = SqliteStore.open(path, PASSPHRASE)
    try:
        return await store.device()
    finally:
        await store.close()


def test_a_missing_store_is_told_and_none_is_made(path: Path) -> None:
    with pytest.raises(StoreMissingError):
        SqliteStore.open(path, PASSPHRASE)
    assert not path.exists()
    assert not store_exists(path)
    with pytest.raises(StoreMissingError):
        SqliteStore.open(path.parent, PASSPHRASE)


async def test_an_existing_file_is_never_made_anew(path: Path) -> None:
    await make(path)
    before = path.read_bytes()
    with pytest.raises(StoreMissingError):
        SqliteStore.create(path, PASSPHRASE)
    assert path.read_bytes() == before
    assert store_exists(path)


def test_a_folder_that_is_not_there_is_told(path: Path) -> None:
    with pytest.raises(StoreMissingError):
        SqliteStore.create(path.parent / "absent" / "device.db", PASSPHRASE)


CREATE = """
import sys
from pathlib import Path
from client_sdk.stores.errors import StoreMissingError
from client_sdk.stores.sqlite import SqliteStore
import os
if os.getuid() == 0:
    os.setuid(65534)
try:
    SqliteStore.create(Path(sys.argv[1]), "long enough")
except StoreMissingError as error:
    print(error.code)
"""


def test_a_read_only_folder_is_told(path: Path) -> None:
    path.parent.chmod(0o555)
    try:
        found = subprocess.run(
            [sys.executable, "-c", CREATE, str(path)], capture_output=True, text=True, check=True
        )
    finally:
        path.parent.chmod(0o755)
    assert found.stdout.strip() == "store_missing"
    assert not path.exists()


async def test_a_newer_schema_is_refused_and_an_older_one_is_brought_up_to_date(path: Path) -> None:
    await make(path)
    await set_version(path, SCHEMA_VERSION + 1)
    with pytest.raises(StoreTooNewError):
        SqliteStore.open(path, PASSPHRASE)
    await set_version(path, SCHEMA_VERSION)
    store = SqliteStore.open(path, PASSPHRASE)
    assert await store.device() == b"the record"
    await store.close()


async def set_version(path: Path, version: int) -> None:
    database = raw(path)
    database.execute(f"PRAGMA user_version = {version}")
    database.close()


async def make_version(path: Path, version: int) -> Database:
    """Make a store as the program of an earlier schema version left it."""
    await make(path)
    database = raw(path)
    found = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (table,) in found:
        if not table.startswith("sqlite_"):
            database.execute(f"DROP TABLE {table}")
    for script in MIGRATIONS[:version]:
        database.executescript(script)
    database.execute(f"PRAGMA user_version = {version}")
    return database


async def test_an_empty_database_is_migrated_from_version_0(path: Path) -> None:
    store = SqliteStore.create(path, PASSPHRASE)
    await store.close()
    database = raw(path)
    tables = [
        row[0]
        for row in database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
    ]
    for table in tables:
        database.execute(f"DROP TABLE {table}")
    database.execute("PRAGMA user_version = 0")
    database.close()
    store = SqliteStore.open(path, PASSPHRASE)
    await store.commit(Changes(device=b"again"))
    assert await store.device() == b"again"
    await store.close()
    assert len(MIGRATIONS) == SCHEMA_VERSION


async def test_a_migration_that_fails_leaves_the_version_as_it_was(path: Path) -> None:
    await make(path)
    await set_version(path, 0)  # the tables are there already, so the first script fails
    with pytest.raises(StoreError):
        SqliteStore.open(path, PASSPHRASE)
    database = raw(path)
    assert database.execute("PRAGMA user_version").fetchone() == (0,)
    assert database.execute("SELECT record FROM device").fetchone() == (b"the record",)
    database.close()


async def test_a_store_of_version_2_gets_the_tables_of_healing(path: Path) -> None:
    database = await make_version(path, 2)
    database.execute("INSERT INTO opened VALUES ('bob-1', 'e', x'01', NULL, 5)")
    database.close()
    store = SqliteStore.open(path, PASSPHRASE)
    bob, envelope = DeviceAddress("bob-1"), EnvelopeId("e")
    (found,) = (await store.find_opened([(bob, envelope)])).values()
    assert (found.opened_at, found.position) == (5, None)
    assert await store.candidates_to_ask(9) == []
    assert await store.resends_due(9) == []
    assert await store.pace(bob, PaceKind.ASK) is None
    await store.close()


async def test_a_store_of_version_1_keeps_its_streams(path: Path) -> None:
    database = await make_version(path, 1)
    database.execute("INSERT INTO streams VALUES ('bob-1', x'01', 'bob', 7, NULL, x'9190')")
    database.close()
    store = SqliteStore.open(path, PASSPHRASE)
    (stream,) = (await store.snapshot(UserName("bob"))).streams
    assert (stream.next_sequence, stream.used_at) == (7, 0)
    await store.close()


async def test_a_store_of_version_2_keeps_its_contacts_and_its_replay_cache(path: Path) -> None:
    database = await make_version(path, 2)
    database.execute("INSERT INTO peers VALUES ('bob', 4, x'02', x'01', NULL, '', '', 1, 0, 9)")
    database.execute("INSERT INTO handshakes VALUES (x'07')")
    database.close()
    store = SqliteStore.open(path, PASSPHRASE)
    snapshot = await store.snapshot(BOB)
    assert (snapshot.revision, snapshot.peer.next_sequence, snapshot.peer.accepted) == (4, 9, True)
    assert snapshot.peer[9:] == Peer(BOB)[9:]
    assert await store.knows_handshake(b"\x07")
    await store.close()


async def test_a_store_of_version_5_has_no_pinned_ca_and_can_keep_one(path: Path) -> None:
    database = await make_version(path, 5)
    database.execute("INSERT INTO device VALUES (1, x'01')")
    database.close()
    store = SqliteStore.open(path, PASSPHRASE)
    assert await store.device() == b"\x01"
    assert await store.pinned_ca() is None
    await store.keep_pinned_ca(b"DER")
    assert await store.pinned_ca() == b"DER"
    await store.close()


async def test_a_store_of_version_6_does_not_know_yet_which_address_answered(path: Path) -> None:
    database = await make_version(path, 6)
    database.execute("INSERT INTO pinned_ca VALUES (1, x'01')")
    database.close()
    store = SqliteStore.open(path, PASSPHRASE)
    assert await store.pinned_ca() == b"\x01"
    assert await store.last_broker() is None
    await store.keep_last_broker("mqtts://mq1")
    assert await store.last_broker() == "mqtts://mq1"
    await store.close()


async def test_no_planted_secret_lies_in_any_file(path: Path) -> None:
    text, private, record = "planted text", b"planted private key " * 2, b"planted session record"
    store = SqliteStore.create(path, PASSPHRASE)
    await store.commit(
        Changes(
            based_on=(UserRevision(BOB, 0),),
            device=b"planted device",
            messages=(outgoing(text),),
            prekeys=(PrekeyRow(PrekeyKind.SIGNED, 1, private, 1),),
            sessions=(SessionRow(DeviceAddress("bob-1"), BOB, record),),
        )
    )
    for closed in (False, True):
        if closed:
            await store.close()
        found = b"".join(one.read_bytes() for one in path.parent.iterdir())
        assert b"planted" not in found
        assert b"messages" not in found
        assert b"SQLite format" not in found
    assert "planted" not in repr(store)
    assert PASSPHRASE not in repr(vars(store))


async def test_closing_leaves_no_write_ahead_log_and_idle_time_empties_it(path: Path) -> None:
    store = SqliteStore.create(path, PASSPHRASE)
    await store.commit(Changes(device=b"x"))
    log = Path(f"{path}-wal")
    assert log.stat().st_size > 0
    async with asyncio.timeout(20):
        while log.stat().st_size:  # noqa: ASYNC110 - the file rings no bell
            await asyncio.sleep(0.05)
    await store.commit(Changes(device=b"y"))
    await store.close()
    assert not log.exists()


async def test_removing_a_store_removes_all_its_files(path: Path) -> None:
    await make(path, None)
    remove_store(path, with_key=True)
    assert list(path.parent.iterdir()) == []
    remove_store(path, with_key=True)


async def test_a_new_store_uses_the_key_file_that_lies_there_and_never_replaces_it(
    path: Path,
) -> None:
    await (SqliteStore.create(path, None)).close()
    moved = path.with_name("moved.db")
    path.rename(moved)
    key = key_file(path).read_bytes()
    await (SqliteStore.create(path, None)).close()
    assert key_file(path).read_bytes() == key
    remove_store(path, with_key=False)
    key_file(path).rename(key_file(moved))
    await (SqliteStore.open(moved, None)).close()


@pytest.mark.parametrize("passphrase", [PASSPHRASE, None])
async def test_what_a_crash_left_of_a_new_store_is_no_obstacle(
    path: Path, passphrase: str | None
) -> None:
    path.touch()
    key_file(path).touch()
    await (SqliteStore.create(path, passphrase)).close()
    await (SqliteStore.open(path, passphrase)).close()
    assert list(path.parent.glob("*.new")) == []
