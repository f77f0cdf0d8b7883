"""What every directory store promises, on SQLite and on PostgreSQL."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from client_sdk.wire.encoded_keys import SigningKey
from client_sdk.wire.healing import StoreCounters
from client_sdk.wire.ids import DeviceAddress, InvitationId, RequestId, UserName
from keydir.errors import DirectoryBusyError, DirectoryStoreError, NewerDirectoryError
from keydir.ports import DirectoryStore
from keydir.records import Account, Answer, Device, InvitationRow, Prekey, PrekeyKind, Token
from keydir.rules import Limit
from keydir.stores.opening import open_store
from keydir.stores.server_credentials import open_credentials
from keydir.throttle import Charge, allow
from tests.contract.keydir_stores import ADDRESS, USER, add_account, pool, transaction

ONE_TIME = PrekeyKind.ONE_TIME

TAKE_ALL = """
import sys
from client_sdk.wire.ids import DeviceAddress
from keydir.records import PrekeyKind
from keydir.stores.opening import open_store

kind = PrekeyKind.ONE_TIME

def take():
    with store.transaction() as opened:
        return opened.prekeys.take_one_time(DeviceAddress("alice-1"), [kind]).get(kind)

store = open_store(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
while (prekey := store.submit(take).result()) is not None:
    print(prekey.id, flush=True)
store.close()
"""


@pytest.fixture
def store(database: str) -> Iterator[DirectoryStore]:
    opened = open_store(database)
    with transaction(opened) as began:
        add_account(began)
    yield opened
    opened.close()


def fill(store: DirectoryStore, count: int, room: int = 10_000) -> None:
    with transaction(store) as opened:
        opened.prekeys.add_one_time(ADDRESS, ONE_TIME, pool(1, count), room)


def test_accounts_and_devices_come_back_as_they_went_in(store: DirectoryStore) -> None:
    with transaction(store) as opened:
        accounts = opened.accounts
        assert accounts.account(USER) == Account(USER, "patient", "Alice", b"list")
        assert accounts.account(UserName("bob")) is None
        accounts.note_upload(ADDRESS, 7)
        accounts.note_low_event(ADDRESS, 8)
        accounts.accept(ADDRESS, 9)
        assert accounts.device(ADDRESS) == Device(
            ADDRESS, USER, SigningKey(b"k" * 33), 9, None, published_at=7, low_event_at=8
        )
        assert accounts.roles_in_use() == {"patient"}


def test_an_error_inside_leaves_nothing_of_the_transaction(store: DirectoryStore) -> None:
    fill(store, 1)
    with pytest.raises(DirectoryStoreError), transaction(store) as opened:  # noqa: PT012
        assert opened.prekeys.take_one_time(ADDRESS, [ONE_TIME]).get(ONE_TIME) is not None
        opened.connection.exec_driver_sql("SELECT * FROM nothing")
    with transaction(store) as opened:
        assert opened.prekeys.counts(ADDRESS).one_time == 1


def test_one_time_keys_leave_in_order_once_and_never_return(store: DirectoryStore) -> None:
    fill(store, 3)
    with transaction(store) as opened:
        prekeys = opened.prekeys
        assert prekeys.take_one_time(ADDRESS, [ONE_TIME]).get(ONE_TIME) == Prekey(1, 5, b"record")
        prekeys.add_one_time(ADDRESS, ONE_TIME, pool(1, 4), 10)
        taken = [prekeys.take_one_time(ADDRESS, [ONE_TIME]).get(ONE_TIME) for _ in range(4)]
        assert [one and one.id for one in taken] == [2, 3, 4, None]
        assert (
            prekeys.take_one_time(ADDRESS, [PrekeyKind.ONE_TIME_KEM]).get(PrekeyKind.ONE_TIME_KEM)
            is None
        )


@pytest.mark.parametrize(("room", "kept"), [(0, 0), (2, 2), (3, 3), (4, 3)])
def test_only_as_many_keys_are_added_as_there_is_room(
    store: DirectoryStore, room: int, kept: int
) -> None:
    fill(store, 3, room)
    with transaction(store) as opened:
        assert opened.prekeys.counts(ADDRESS) == (kept, 0)


@pytest.mark.parametrize("held", [False, True])
def test_the_freshest_standing_prekey_stays_and_is_part_of_the_supply(
    store: DirectoryStore, held: bool
) -> None:
    with transaction(store) as opened:
        prekeys = opened.prekeys
        assert prekeys.supply(ADDRESS) == (None, None, (0, 0))
        for prekey in (Prekey(2, 20, b"b"), Prekey(1, 10, b"a"), Prekey(3, 20, b"c")):
            prekeys.keep_freshest(ADDRESS, PrekeyKind.SIGNED, prekey)
        assert prekeys.supply(ADDRESS).signed == Prekey(2, 20, b"b")
        prekeys.keep_freshest(ADDRESS, PrekeyKind.LAST_RESORT, Prekey(9, 1, b"d"))
        prekeys.add_one_time(ADDRESS, PrekeyKind.ONE_TIME_KEM, pool(1, 4), 9)
        prekeys.add_one_time(ADDRESS, PrekeyKind.ONE_TIME, pool(1, 3), 9)
        supply = prekeys.supply(ADDRESS) if not held else prekeys.held_supply(ADDRESS)
        assert supply == (Prekey(2, 20, b"b"), Prekey(9, 1, b"d"), (3, 4))
        both = [PrekeyKind.ONE_TIME_KEM, ONE_TIME]
        assert prekeys.take_one_time(ADDRESS, both) == dict.fromkeys(both, Prekey(1, 5, b"record"))
        assert prekeys.take_one_time(ADDRESS, []) == {}
        assert prekeys.supply(ADDRESS).left == (2, 3)


def test_answers_are_kept_until_they_are_old_or_forgotten(store: DirectoryStore) -> None:
    request_id, answer = RequestId("r" * 26), Answer(b"h" * 32, b"reply")
    with transaction(store) as opened:
        answers = opened.answers
        answers.keep(ADDRESS, request_id, answer, 10)
        assert answers.find(ADDRESS, request_id, 10) == answer
        assert answers.find(ADDRESS, request_id, 11) is None
        answers.keep(ADDRESS, request_id, Answer(b"g" * 32, b"newer"), 12)
        answers.forget_before(12)
        assert answers.find(ADDRESS, request_id, 10) == Answer(b"g" * 32, b"newer")
        answers.forget_before(13)
        assert answers.find(ADDRESS, request_id, 10) is None


def token(key: str, now: int) -> Token:
    return Token(key, now, step=10, most=now + 30)


def test_tokens_are_taken_with_the_commit_and_full_buckets_forgotten(
    store: DirectoryStore,
) -> None:
    with transaction(store) as opened:
        assert opened.buckets.find(["a", "b"]) == {"a": 0, "b": 0}
        opened.buckets.take([token("a", 100), token("b", 200)])
    with pytest.raises(ZeroDivisionError), transaction(store) as opened:  # noqa: PT012
        opened.buckets.take([token("a", 100)])
        raise ZeroDivisionError
    with transaction(store) as opened:
        assert opened.buckets.find(["b", "a"]) == {"a": 110, "b": 210}
        opened.buckets.take([token("b", 205), token("a", 100)])
    with transaction(store) as opened:
        assert opened.buckets.find(["b", "a"]) == {"a": 120, "b": 220}
        opened.buckets.lower("b", 218)
        opened.buckets.lower("a", 121)
        opened.buckets.forget_full(120)
    with transaction(store) as opened:
        assert opened.buckets.find(["b", "a"]) == {"a": 0, "b": 218}


@pytest.mark.parametrize("over", [0, 1])
def test_a_token_of_a_bucket_that_was_emptied_meanwhile_breaks_the_step_off(
    store: DirectoryStore, over: int
) -> None:
    def step() -> None:
        with store.transaction() as opened:
            opened.buckets.take([token("b", 200), Token("a", 100, 30, 130)])

    with transaction(store) as opened:
        opened.buckets.take([Token("a", 100, over, 130)])
    if over:
        with pytest.raises((DirectoryBusyError, DirectoryStoreError)):
            store.submit(step).result(timeout=60)
    else:
        store.submit(step).result(timeout=60)
    with transaction(store) as opened:
        assert opened.buckets.find(["a", "b"]) == {"a": 100 + (over or 30), "b": 0 if over else 210}


def test_a24_a_limit_holds_when_eight_stores_charge_one_bucket_at_once(
    store: DirectoryStore, database: str
) -> None:
    charges = [Charge(Limit(20, 1000), "to alice-1"), Charge(Limit(99, 1000), "other")]

    def charge(number: int) -> int:
        own = open_store(database)

        def one() -> bool:
            with own.transaction() as opened:
                return allow(opened.buckets, 5, *charges[: 1 + number % 2])

        allowed = sum(own.submit(one).result(timeout=60) for _ in range(5))
        own.close()
        return allowed

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(charge, range(8), timeout=60)) == 20


def test_replicas_count_on_until_they_leave(store: DirectoryStore) -> None:
    with transaction(store) as opened:
        assert opened.replicas.beats() == {}
        opened.replicas.beat("_kd-a", 5)
        opened.replicas.beat("_kd-b", 6)
        opened.replicas.beat("_kd-a", 7)
    with transaction(store) as opened:
        assert opened.replicas.beats() == {"_kd-a": 7, "_kd-b": 6}
        opened.replicas.leave("_kd-a")
        assert opened.replicas.beats() == {"_kd-b": 6}


def test_users_are_listed_by_the_bytes_of_their_names_over_all_roles(
    store: DirectoryStore,
) -> None:
    names = ["a_b", "ab", "a0", "b", "a1"]
    with transaction(store) as opened:
        for name in names:
            role = "doctor" if name < "a_" else "nurse"
            address = DeviceAddress(f"{name}-1")
            opened.accounts.add(
                Account(UserName(name), role, name, b"list"),
                Device(address, UserName(name), SigningKey(b"k" * 33)),
            )
        listed = opened.accounts.listed
        assert [one.user for one in listed(["doctor", "nurse"], "", 9)] == sorted(names)
        assert [one.user for one in listed(["doctor", "nurse"], "a0", 2)] == ["a1", "a_b"]
        assert [one.user for one in listed(["nurse"], "a_b", 9)] == ["ab", "b"]
        assert listed([], "", 9) == []


def test_an_invitation_replaces_the_users_earlier_one_and_its_login(
    store: DirectoryStore,
) -> None:
    first, second = (InvitationId(letter * 26) for letter in "ab")
    with transaction(store) as opened:
        invitations = opened.invitations
        for one in (first, second):
            invitations.replace(InvitationRow(one, UserName("bob"), "doctor", "Bob", 50))
            opened.logins.put(f"_enroll-{one}", b"h" * 32, 50)
        assert invitations.find(first) is None
        assert opened.accounts.roles_in_use() == {"patient", "doctor"}
        invitations.redeem(second, b"l" * 32, b"c" * 32)
        found = invitations.find(second)
        assert found == InvitationRow(
            second, UserName("bob"), "doctor", "Bob", 50, b"l" * 32, b"c" * 32
        )
        assert invitations.withdraw(UserName("bob"))
        assert not invitations.withdraw(UserName("bob"))


def test_revoked_devices_wait_for_their_sweep_and_for_the_next(store: DirectoryStore) -> None:
    with transaction(store) as opened:
        accounts = opened.accounts
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
    store: DirectoryStore, database: str
) -> None:
    reader = open_credentials(database, clock=lambda: 1000)
    before = reader.revision()
    with transaction(store) as opened:
        opened.logins.put("for-ever", b"a" * 32, None)
        opened.logins.put("later", b"b" * 32, 1001)
        opened.logins.put("now", b"c" * 32, 1000)
    added = reader.revision()
    assert added > before
    found = [reader.secret_hash(login) for login in ("for-ever", "later", "now", "never")]
    assert found == [b"a" * 32, b"b" * 32, None, None]
    with transaction(store) as opened:
        opened.accounts.note_upload(ADDRESS, 5)
    assert reader.revision() == added
    with transaction(store) as opened:
        opened.logins.remove("for-ever")
    assert reader.revision() > added
    assert reader.secret_hash("for-ever") is None
    reader.close()
    with pytest.raises(DirectoryStoreError):
        reader.secret_hash("later")


def test_a25_eight_threads_never_get_one_key_twice(store: DirectoryStore, database: str) -> None:
    fill(store, 200)
    taken: list[int] = []

    def take() -> None:
        own = open_store(database)
        for _ in range(30):
            with transaction(own) as opened:
                # Reading first is what requests do; the write lock must be there already.
                opened.prekeys.counts(ADDRESS)
                prekey = opened.prekeys.take_one_time(ADDRESS, [ONE_TIME]).get(ONE_TIME)
            if prekey is not None:
                taken.append(prekey.id)
        own.close()

    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(take) for _ in range(8)]:
            done.result(timeout=60)
    assert sorted(taken) == list(range(1, 201))


def test_a25_two_processes_never_get_one_key_twice(store: DirectoryStore, database: str) -> None:
    fill(store, 300)
    takers = [_taker(database) for _ in range(2)]
    for taker in takers:
        _go(taker)
    outputs = [taker.communicate(timeout=60)[0].split() for taker in takers]
    assert sorted(int(one) for output in outputs for one in output) == list(range(1, 301))


def test_a25_a_process_killed_while_handing_out_repeats_no_key(
    store: DirectoryStore, database: str
) -> None:
    fill(store, 300)
    taken: list[int] = []
    for kill_after in (1, 20, 41):
        taker = _taker(database)
        _go(taker)
        assert taker.stdout is not None
        taken += [int(taker.stdout.readline()) for _ in range(kill_after)]
        taker.send_signal(signal.SIGKILL)
        printed = taker.communicate(timeout=30)[0].split("\n")[:-1]
        taken += [int(one) for one in printed]
    taker = _taker(database)
    _go(taker)
    taken += [int(one) for one in taker.communicate(timeout=60)[0].split()]
    assert len(set(taken)) == len(taken)
    # What a killed process had taken and not told is lost, one key a kill at most.
    assert len(taken) >= 300 - 3


def _go(taker: "subprocess.Popen[str]") -> None:
    assert taker.stdin is not None
    taker.stdin.write("go\n")
    taker.stdin.flush()


def _taker(database: str) -> "subprocess.Popen[str]":
    taker = subprocess.Popen(
        [sys.executable, "-c", TAKE_ALL, database],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert taker.stdout is not None
    assert taker.stdout.readline() == "ready\n"
    return taker


def test_the_report_of_a_store_is_replaced_and_found(store: DirectoryStore) -> None:
    first, second = StoreCounters(1, 9, bytes(16)), StoreCounters(2, 3, b"\x01" * 16)
    with transaction(store) as opened:
        assert opened.counters.find(ADDRESS) is None
        opened.counters.keep(ADDRESS, first)
    with transaction(store) as opened:
        assert opened.counters.find(ADDRESS) == first
        opened.counters.keep(ADDRESS, second)
        assert opened.counters.find(ADDRESS) == second


def test_a_newer_schema_is_refused_and_left_alone(store: DirectoryStore, database: str) -> None:
    with transaction(store) as opened:
        opened.connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(NewerDirectoryError, match="9999"):
        open_store(database)


def test_another_programs_database_is_refused(empty_database: str) -> None:
    foreign = open_store(empty_database)
    with transaction(foreign) as opened:
        opened.connection.exec_driver_sql("ALTER TABLE alembic_version RENAME TO mine")
    foreign.close()
    with pytest.raises(DirectoryStoreError, match="another program"):
        open_store(empty_database)
