"""What every directory store promises to many replicas at once, on SQLite and on PostgreSQL."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from keydir.errors import DirectoryBusyError, DirectoryStoreError
from keydir.limits import Limit
from keydir.ports import DirectoryStore
from keydir.records import PrekeyKind, Token
from keydir.stores.opening import open_store
from keydir.throttle import Charge, allow
from tests.contract.keydir_stores import ADDRESS, fill, transaction

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
        # Not communicate(): it forgets the lines that readline() has read ahead.
        taken += [int(one) for one in taker.stdout.read().split("\n")[:-1]]
        taker.communicate(timeout=30)
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
