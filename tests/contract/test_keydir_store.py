"""What every directory store promises; SQLite is the one there is."""

import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect

from client_sdk.wire.encoded_keys import SigningKey
from client_sdk.wire.healing import StoreCounters
from client_sdk.wire.ids import DeviceAddress, InvitationId, RequestId, UserName
from keydir.errors import DirectoryStoreError, NewerDirectoryError
from keydir.records import Account, Answer, Device, InvitationRow, Prekey, PrekeyKind
from keydir.stores import CredentialReader
from keydir.stores.migrate import HEAD, KNOWN, MIGRATIONS
from keydir.stores.schema import METADATA
from keydir.stores.sql import SqlDirectoryStore

USER = UserName("alice")
ADDRESS = DeviceAddress("alice-1")
ONE_TIME = PrekeyKind.ONE_TIME

TAKE_ALL = """
import sys
from pathlib import Path
from client_sdk.wire.ids import DeviceAddress
from keydir.records import PrekeyKind
from keydir.stores.sql import SqlDirectoryStore

store = SqlDirectoryStore(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
while True:
    with store.transaction() as transaction:
        prekey = transaction.prekeys.take_one_time(DeviceAddress("alice-1"), PrekeyKind.ONE_TIME)
    if prekey is None:
        break
    print(prekey.id, flush=True)
"""

PUT_LOGIN = """
import sys
from pathlib import Path
from keydir.stores.sql import SqlDirectoryStore

store = SqlDirectoryStore(Path(sys.argv[1]))
with store.transaction() as transaction:
    transaction.logins.put(sys.argv[2], b"h" * 32, None)
store.close()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "directory.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqlDirectoryStore]:
    opened = SqlDirectoryStore(path)
    with opened.transaction() as transaction:
        transaction.accounts.add(
            Account(USER, "patient", "Alice", b"list"),
            Device(ADDRESS, USER, SigningKey(b"k" * 33), invitation_id=InvitationId("i" * 26)),
        )
    yield opened
    opened.close()


def pool(first: int, count: int) -> list[Prekey]:
    return [Prekey(number, 5, b"record") for number in range(first, first + count)]


def fill(store: SqlDirectoryStore, count: int, room: int = 10_000) -> None:
    with store.transaction() as transaction:
        transaction.prekeys.add_one_time(ADDRESS, ONE_TIME, pool(1, count), room)


def test_accounts_and_devices_come_back_as_they_went_in(store: SqlDirectoryStore) -> None:
    with store.transaction() as transaction:
        accounts = transaction.accounts
        assert accounts.account(USER) == Account(USER, "patient", "Alice", b"list")
        assert accounts.account(UserName("bob")) is None
        accounts.note_upload(ADDRESS, 7)
        accounts.note_low_event(ADDRESS, 8)
        accounts.accept(ADDRESS, 9)
        assert accounts.device(ADDRESS) == Device(
            ADDRESS, USER, SigningKey(b"k" * 33), 9, None, published_at=7, low_event_at=8
        )
        assert accounts.roles_in_use() == {"patient"}


def test_an_error_inside_leaves_nothing_of_the_transaction(store: SqlDirectoryStore) -> None:
    fill(store, 1)
    with pytest.raises(DirectoryStoreError), store.transaction() as transaction:  # noqa: PT012
        assert transaction.prekeys.take_one_time(ADDRESS, ONE_TIME) is not None
        transaction.connection.exec_driver_sql("SELECT * FROM nothing")
    with store.transaction() as transaction:
        assert transaction.prekeys.counts(ADDRESS).one_time == 1


def test_one_time_keys_leave_in_order_once_and_never_return(store: SqlDirectoryStore) -> None:
    fill(store, 3)
    with store.transaction() as transaction:
        prekeys = transaction.prekeys
        assert prekeys.take_one_time(ADDRESS, ONE_TIME) == Prekey(1, 5, b"record")
        prekeys.add_one_time(ADDRESS, ONE_TIME, pool(1, 4), 10)
        taken = [prekeys.take_one_time(ADDRESS, ONE_TIME) for _ in range(4)]
        assert [one and one.id for one in taken] == [2, 3, 4, None]
        assert prekeys.take_one_time(ADDRESS, PrekeyKind.ONE_TIME_KEM) is None


@pytest.mark.parametrize(("room", "kept"), [(0, 0), (2, 2), (3, 3), (4, 3)])
def test_only_as_many_keys_are_added_as_there_is_room(
    store: SqlDirectoryStore, room: int, kept: int
) -> None:
    fill(store, 3, room)
    with store.transaction() as transaction:
        assert transaction.prekeys.counts(ADDRESS) == (kept, 0)


def test_the_freshest_standing_prekey_stays(store: SqlDirectoryStore) -> None:
    with store.transaction() as transaction:
        prekeys = transaction.prekeys
        assert prekeys.standing(ADDRESS, PrekeyKind.SIGNED) is None
        for prekey in (Prekey(2, 20, b"b"), Prekey(1, 10, b"a"), Prekey(3, 20, b"c")):
            prekeys.keep_freshest(ADDRESS, PrekeyKind.SIGNED, prekey)
        assert prekeys.standing(ADDRESS, PrekeyKind.SIGNED) == Prekey(2, 20, b"b")
        assert prekeys.standing(ADDRESS, PrekeyKind.LAST_RESORT) is None


def test_answers_are_kept_until_they_are_forgotten(store: SqlDirectoryStore) -> None:
    request_id, answer = RequestId("r" * 26), Answer(b"h" * 32, b"reply")
    with store.transaction() as transaction:
        transaction.answers.keep(ADDRESS, request_id, answer, 10)
        transaction.answers.forget_before(10)
        assert transaction.answers.find(ADDRESS, request_id) == answer
        transaction.answers.forget_before(11)
        assert transaction.answers.find(ADDRESS, request_id) is None


def test_an_invitation_replaces_the_users_earlier_one_and_its_login(
    store: SqlDirectoryStore,
) -> None:
    first, second = (InvitationId(letter * 26) for letter in "ab")
    with store.transaction() as transaction:
        invitations = transaction.invitations
        for one in (first, second):
            invitations.replace(InvitationRow(one, UserName("bob"), "doctor", "Bob", 50))
            transaction.logins.put(f"_enroll-{one}", b"h" * 32, 50)
        assert invitations.find(first) is None
        assert transaction.accounts.roles_in_use() == {"patient", "doctor"}
        invitations.redeem(second, b"l" * 32, b"c" * 32)
        found = invitations.find(second)
        assert found == InvitationRow(
            second, UserName("bob"), "doctor", "Bob", 50, b"l" * 32, b"c" * 32
        )
        assert invitations.withdraw(UserName("bob"))
        assert not invitations.withdraw(UserName("bob"))


def test_revoked_devices_wait_for_their_sweep_and_for_the_next(store: SqlDirectoryStore) -> None:
    with store.transaction() as transaction:
        accounts = transaction.accounts
        assert accounts.unswept(100) == []
        assert not accounts.revoke(UserName("bob"), None, 40)
        assert not accounts.revoke(USER, DeviceAddress("alice-2"), 40)
        assert accounts.revoke(USER, None, 40)
        account, device = accounts.account(USER), accounts.device(ADDRESS)
        assert account is not None
        assert device is not None
        assert account.revoked
        assert device.revoked
        assert accounts.listed(["patient"], "", 5) == []
        assert accounts.unswept(100) == [ADDRESS]
        accounts.note_sweep(ADDRESS, 100)
        assert accounts.unswept(100) == []
        assert accounts.unswept(101) == [ADDRESS]


def test_a_reader_sees_logins_their_end_and_changes_by_others(
    store: SqlDirectoryStore, path: Path
) -> None:
    reader = CredentialReader(path, clock=lambda: 1000)
    before = reader.revision()
    with store.transaction() as transaction:
        transaction.logins.put("for-ever", b"a" * 32, None)
        transaction.logins.put("later", b"b" * 32, 1001)
        transaction.logins.put("now", b"c" * 32, 1000)
    added = reader.revision()
    assert added > before
    found = [reader.secret_hash(login) for login in ("for-ever", "later", "now", "never")]
    assert found == [b"a" * 32, b"b" * 32, None, None]
    with store.transaction() as transaction:
        transaction.accounts.note_upload(ADDRESS, 5)
    assert reader.revision() == added
    with store.transaction() as transaction:
        transaction.logins.remove("for-ever")
    assert reader.revision() > added
    assert reader.secret_hash("for-ever") is None
    reader.close()
    with pytest.raises(DirectoryStoreError):
        reader.secret_hash("later")


def test_a_reader_follows_another_process_after_a_store_was_opened_beside_it(
    store: SqlDirectoryStore, path: Path
) -> None:
    fill(store, 1)
    store.close()
    reader = CredentialReader(path)
    SqlDirectoryStore(path).close()
    for login in ("one", "two"):
        subprocess.run([sys.executable, "-c", PUT_LOGIN, str(path), login], check=True, timeout=60)
        assert reader.secret_hash(login) == b"h" * 32
    reader.close()


def test_a_reader_cannot_write_and_refuses_what_is_no_directory(
    store: SqlDirectoryStore, path: Path, tmp_path: Path
) -> None:
    reader = CredentialReader(path)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._connection.execute("DELETE FROM credentials")
    reader.close()
    junk = tmp_path / "junk.db"
    junk.write_bytes(b"junk" * 500)
    for wrong in (tmp_path / "none.db", junk):
        with pytest.raises(DirectoryStoreError, match="nothing was changed"):
            CredentialReader(wrong)


def test_a25_eight_threads_never_get_one_key_twice(store: SqlDirectoryStore, path: Path) -> None:
    fill(store, 200)
    taken: list[int] = []

    def take() -> None:
        own = SqlDirectoryStore(path)
        for _ in range(30):
            with own.transaction() as transaction:
                # Reading first is what requests do; the write lock must be there already.
                transaction.prekeys.counts(ADDRESS)
                prekey = transaction.prekeys.take_one_time(ADDRESS, ONE_TIME)
            if prekey is not None:
                taken.append(prekey.id)
        own.close()

    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(take) for _ in range(8)]:
            done.result(timeout=60)
    assert sorted(taken) == list(range(1, 201))


def test_a25_two_processes_never_get_one_key_twice(store: SqlDirectoryStore, path: Path) -> None:
    fill(store, 300)
    takers = [_taker(path) for _ in range(2)]
    for taker in takers:
        _go(taker)
    outputs = [taker.communicate(timeout=60)[0].split() for taker in takers]
    assert sorted(int(one) for output in outputs for one in output) == list(range(1, 301))


def test_a25_a_process_killed_while_handing_out_repeats_no_key(
    store: SqlDirectoryStore, path: Path
) -> None:
    fill(store, 300)
    taken: list[int] = []
    for kill_after in (1, 20, 41):
        taker = _taker(path)
        _go(taker)
        assert taker.stdout is not None
        taken += [int(taker.stdout.readline()) for _ in range(kill_after)]
        taker.send_signal(signal.SIGKILL)
        printed = taker.communicate(timeout=30)[0].split("\n")[:-1]
        taken += [int(one) for one in printed]
    taker = _taker(path)
    _go(taker)
    taken += [int(one) for one in taker.communicate(timeout=60)[0].split()]
    assert len(set(taken)) == len(taken)
    # What a killed process had taken and not told is lost, one key a kill at most.
    assert len(taken) >= 300 - 3


def _go(taker: "subprocess.Popen[str]") -> None:
    assert taker.stdin is not None
    taker.stdin.write("go\n")
    taker.stdin.flush()


def _taker(path: Path) -> "subprocess.Popen[str]":
    taker = subprocess.Popen(
        [sys.executable, "-c", TAKE_ALL, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert taker.stdout is not None
    assert taker.stdout.readline() == "ready\n"
    return taker


def test_the_file_is_for_its_owner_only_and_survives_reopening(path: Path) -> None:
    opened = SqlDirectoryStore(path)
    with opened.transaction() as transaction:
        transaction.settings.put("name", "value")
        modes = {stat.S_IMODE(one.stat().st_mode) for one in path.parent.glob("directory.db*")}
        assert modes == {0o600}
    opened.close()
    again = SqlDirectoryStore(path)
    with again.transaction() as transaction:
        assert transaction.settings.get("name") == "value"
        connection = transaction.connection
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    again.close()


def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    SqlDirectoryStore(path).close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    with pytest.raises(NewerDirectoryError, match="9999"):
        SqlDirectoryStore(path)


@pytest.mark.parametrize("content", [b"junk" * 500, b"SQLite format 3\x00" + b"\x00" * 500])
def test_a_junk_file_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(DirectoryStoreError, match="nothing was changed") as caught:
        SqlDirectoryStore(path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


def test_another_programs_database_is_refused(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE mine (x)")
    connection.commit()
    connection.close()
    with pytest.raises(DirectoryStoreError, match="another program"):
        SqlDirectoryStore(path)


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(DirectoryStoreError, match="No such file"):
        SqlDirectoryStore(tmp_path / "none" / "directory.db")


def test_a_full_disk_is_named_and_nothing_is_kept(store: SqlDirectoryStore) -> None:
    with store.transaction() as transaction:
        transaction.connection.exec_driver_sql("PRAGMA max_page_count = 1")
    with pytest.raises(DirectoryStoreError, match="disk is full"):
        fill(store, 2000)
    with store.transaction() as transaction:
        assert transaction.prekeys.counts(ADDRESS) == (0, 0)


def test_the_migrations_make_exactly_the_tables_of_the_schema(path: Path, tmp_path: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    script = ScriptDirectory.from_config(config)
    assert script.get_current_head() == HEAD
    assert {one.revision for one in script.walk_revisions()} == KNOWN
    SqlDirectoryStore(path).close()
    plain = tmp_path / "plain.db"
    engine = create_engine(f"sqlite:///{plain}")
    METADATA.create_all(engine)
    migrated = create_engine(f"sqlite:///{path}")
    shapes = []
    for one in (engine, migrated):
        seen = inspect(one)
        tables = sorted(set(seen.get_table_names()) - {"alembic_version"})
        shapes.append(
            {
                table: (
                    [(c["name"], str(c["type"]), c["nullable"]) for c in seen.get_columns(table)],
                    seen.get_pk_constraint(table)["constrained_columns"],
                    sorted(str(index["column_names"]) for index in seen.get_indexes(table)),
                )
                for table in tables
            }
        )
        one.dispose()
    assert shapes[0] == shapes[1]


def test_the_report_of_a_store_is_replaced_and_found(store: SqlDirectoryStore) -> None:
    first, second = StoreCounters(1, 9, bytes(16)), StoreCounters(2, 3, b"\x01" * 16)
    with store.transaction() as transaction:
        assert transaction.counters.find(ADDRESS) is None
        transaction.counters.keep(ADDRESS, first)
    with store.transaction() as transaction:
        assert transaction.counters.find(ADDRESS) == first
        transaction.counters.keep(ADDRESS, second)
        assert transaction.counters.find(ADDRESS) == second
