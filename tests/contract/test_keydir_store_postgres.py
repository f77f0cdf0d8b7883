"""What the directory's store promises of a PostgreSQL server: many at once, and its misfortunes."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest
from sqlalchemy.util import await_only

from client_sdk.wire.ids import DeviceAddress, UserName
from keydir.errors import DirectoryStoreError
from keydir.ports import Transaction
from keydir.records import Prekey, PrekeyKind
from keydir.stores.opening import open_store
from keydir.stores.postgres import PostgresDirectoryStore
from keydir.stores.server import MAX_ATTEMPTS
from tests.contract.keydir_stores import ADDRESS, USER, add_account, pool, transaction
from tests.postgres import Postgres, running_postgres

ONE_TIME = PrekeyKind.ONE_TIME
SECONDS = 60.0


@pytest.fixture
def database(postgres: Postgres) -> str:
    return postgres.migrated()


@pytest.fixture
def store(database: str) -> Iterator[PostgresDirectoryStore]:
    opened = PostgresDirectoryStore(database)
    with transaction(opened) as began:
        add_account(began)
        began.prekeys.add_one_time(ADDRESS, ONE_TIME, pool(1, 9), 100)
    yield opened
    opened.close()


def start(
    store: PostgresDirectoryStore, step: Callable[[Transaction], Prekey | None]
) -> "Future[Prekey | None]":
    def work() -> Prekey | None:
        with store.transaction() as opened:
            return step(opened)

    return store.submit(work)


def take(opened: Transaction) -> Prekey | None:
    return opened.prekeys.take_one_time(ADDRESS, [ONE_TIME]).get(ONE_TIME)


def test_a_key_that_another_transaction_has_taken_is_passed_over(
    store: PostgresDirectoryStore, database: str
) -> None:
    other = open_store(database)
    with transaction(other) as holding:
        assert holding.prekeys.take_one_time(ADDRESS, [ONE_TIME]).get(ONE_TIME).id == 1
        second = start(store, take).result(SECONDS)
        assert second is not None
        assert second.id == 2
    other.close()


def test_a_key_whose_transaction_failed_is_handed_out_later(
    store: PostgresDirectoryStore, database: str
) -> None:
    other = open_store(database)
    with pytest.raises(ZeroDivisionError), transaction(other) as holding:  # noqa: PT012
        assert holding.prekeys.take_one_time(ADDRESS, [ONE_TIME]).get(ONE_TIME).id == 1
        raise ZeroDivisionError
    other.close()
    taken = [start(store, take).result(SECONDS) for _ in range(10)]
    assert [one and one.id for one in taken] == [*range(1, 10), None]


def test_two_steps_that_wait_for_each_other_are_both_done(store: PostgresDirectoryStore) -> None:
    with transaction(store) as opened:
        opened.settings.put("a", "")
        opened.settings.put("b", "")
    begun: list[str] = []
    held: set[str] = set()
    both = asyncio.Event()

    def step(first: str, second: str) -> "Future[None]":
        def work() -> None:
            with store.transaction() as opened:
                begun.append(first)
                opened.settings.put(first, "")
                held.add(first)
                if len(held) == 2:
                    both.set()
                await_only(both.wait())
                opened.settings.put(second, "")
                opened.settings.put(f"{first} is done", "yes")

        return store.submit(work)

    for done in [step("a", "b"), step("b", "a")]:
        done.result(SECONDS)
    assert len(begun) == 3, "the server breaks one of the two off"
    with transaction(store) as opened:
        assert [opened.settings.get(f"{one} is done") for one in "ab"] == ["yes", "yes"]


def test_a_step_that_is_broken_off_again_and_again_fails_in_the_end(
    store: PostgresDirectoryStore,
) -> None:
    begun: list[int] = []

    def step(opened: Transaction) -> Prekey | None:
        begun.append(len(begun))
        opened.accounts.put_list(USER, 1, b"of a version that is there")
        return None

    with pytest.raises(DirectoryStoreError, match="broken off"):
        start(store, step).result(SECONDS)
    assert len(begun) == MAX_ATTEMPTS


def test_a_held_device_is_waited_for_and_then_seen_as_it_became(
    store: PostgresDirectoryStore, database: str
) -> None:
    other = open_store(database)
    waits = threading.Event()

    def follow() -> int:
        with store.transaction() as opened:
            opened.settings.get("begins")
            waits.set()
            member = opened.accounts.held_member(ADDRESS)
            account = opened.accounts.held_account(USER)
            assert member is not None
            assert account is not None
            assert account.role == "patient"
            return member.device.last_counter

    with transaction(other) as holding:
        holding.accounts.held_member(ADDRESS)
        holding.accounts.held_account(USER)
        following = store.submit(follow)
        assert waits.wait(SECONDS)
        assert not following.done()
        holding.accounts.accept(ADDRESS, 41)
    assert following.result(SECONDS) == 41
    other.close()


def test_the_server_may_be_restarted_between_two_steps(
    store: PostgresDirectoryStore, postgres: Postgres
) -> None:
    assert start(store, take).result(SECONDS) is not None
    postgres.stop()
    with pytest.raises(DirectoryStoreError, match="does not answer"):
        start(store, take).result(SECONDS)
    postgres.start()
    second = start(store, take).result(SECONDS)
    assert second is not None
    assert second.id == 2


def test_a25_a_crash_of_the_server_brings_no_key_back() -> None:
    with running_postgres(fsync=True) as server:
        database = server.database()
        store = PostgresDirectoryStore(database)
        with transaction(store) as opened:
            add_account(opened)
            opened.prekeys.add_one_time(ADDRESS, ONE_TIME, pool(1, 200), 1000)
        taken: list[int] = []
        for kill_after in (5, 60):
            asked = [start(store, take) for _ in range(kill_after + 20)]
            taken += [one.id for done in asked[:kill_after] if (one := done.result(SECONDS))]
            server.stop(signal.SIGKILL)
            for done in asked[kill_after:]:
                try:
                    one = done.result(SECONDS)
                except DirectoryStoreError:
                    continue
                assert one is not None
                taken.append(one.id)
            server.start()
        while (one := start(store, take).result(SECONDS)) is not None:
            taken.append(one.id)
        store.close()
    assert len(set(taken)) == len(taken)
    assert len(taken) > 200 - 2 * 20


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda url: url.replace("postgres@", "nobody:secret@"), "refused the login"),
        (lambda url: url.rpartition("/")[0] + "/none", "no database of this name"),
        (lambda url: url.replace("127.0.0.1", "127.0.0.1.invalid"), "does not answer"),
    ],
)
def test_what_is_wrong_with_a_server_is_named_without_the_password(
    database: str, change: Callable[[str], str], said: str
) -> None:
    with pytest.raises(DirectoryStoreError, match=said) as caught:
        open_store(change(database))
    assert "nothing was changed" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_names_sort_by_their_bytes_whatever_the_language_of_the_database(
    postgres: Postgres,
) -> None:
    postgres.sql(
        "CREATE DATABASE german TEMPLATE template0 ENCODING UTF8"
        " LOCALE_PROVIDER icu ICU_LOCALE 'de-AT' LOCALE 'C.UTF-8'"
    )
    assert postgres.sql("SELECT 'a_b' < 'a0'", "german") == "t"  # unlike their bytes
    store = open_store(postgres.url("german"))
    with transaction(store) as opened:
        for name in ("a_b", "a0", "b"):
            add_account(opened, UserName(name))
        listed = [one.user for one in opened.accounts.listed(["patient"], "", 9)]
        assert listed == ["a0", "a_b", "b"]
        assert opened.accounts.device(DeviceAddress("a_b-1")) is not None
    store.close()
    postgres.sql("DROP DATABASE german")
