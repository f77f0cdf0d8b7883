"""What every directory store promises, on SQLite and on PostgreSQL."""

import pytest

from client_sdk.wire.encoded_keys import SigningKey
from client_sdk.wire.healing import StoreCounters
from client_sdk.wire.ids import DeviceAddress, InvitationId, RequestId, UserName
from keydir.errors import DirectoryStoreError, NewerDirectoryError
from keydir.ports import DirectoryStore
from keydir.records import Account, Answer, Device, InvitationRow, Prekey, PrekeyKind
from keydir.stores.opening import open_store
from keydir.stores.server_credentials import open_credentials
from tests.contract.keydir_stores import ADDRESS, USER, fill, pool, transaction

ONE_TIME = PrekeyKind.ONE_TIME


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
