"""Transactions of any directory store, opened where a test stands."""

import queue
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, cast

from client_sdk.wire.encoded_keys import SigningKey
from client_sdk.wire.ids import DeviceAddress, InvitationId, UserName
from keydir.ports import DirectoryStore
from keydir.records import Account, Device, Prekey, PrekeyKind
from keydir.stores.transaction import SqlTransaction

USER = UserName("alice")
ADDRESS = DeviceAddress("alice-1")
ANSWER_SECONDS = 60.0
Step = Callable[[SqlTransaction], Any]


def add_account(opened: SqlTransaction, user: UserName = USER) -> None:
    address = DeviceAddress(f"{user}-1")
    opened.accounts.add(
        Account(user, "patient", user.title(), b"list"),
        Device(address, user, SigningKey(b"k" * 33), invitation_id=InvitationId("i" * 26)),
    )


def pool(first: int, count: int) -> list[Prekey]:
    return [Prekey(number, 5, b"record") for number in range(first, first + count)]


@contextmanager
def transaction(store: DirectoryStore) -> Iterator[SqlTransaction]:
    """Open a transaction outside of ``submit``: each call in it runs inside."""
    steps: queue.Queue[tuple[Step, Future[Any]] | BaseException | None] = queue.Queue()

    def work() -> None:
        with store.transaction() as opened:
            while (step := steps.get(timeout=ANSWER_SECONDS)) is not None:
                if isinstance(step, BaseException):
                    raise step
                perform, answer = step
                try:
                    answer.set_result(perform(cast("SqlTransaction", opened)))
                except BaseException as error:
                    answer.set_exception(error)
                    raise

    working = store.submit(work)
    opened = cast("SqlTransaction", Inside(steps, working, lambda found: found))
    try:
        yield opened
    except BaseException as error:
        steps.put(error)
        working.result(ANSWER_SECONDS)
        raise
    steps.put(None)
    working.result(ANSWER_SECONDS)


def fill(store: DirectoryStore, count: int, room: int = 10_000) -> None:
    with transaction(store) as opened:
        opened.prekeys.add_one_time(ADDRESS, PrekeyKind.ONE_TIME, pool(1, count), room)


class Inside:
    """Stands for a part of a transaction; what is called is called where the transaction is."""

    def __init__(self, steps: Any, working: "Future[None]", reach: Step) -> None:
        self._steps, self._working, self._reach = steps, working, reach

    def __getattr__(self, name: str) -> "Inside":
        reach = self._reach
        return Inside(self._steps, self._working, lambda found: getattr(reach(found), name))

    def __call__(self, *arguments: Any) -> Any:
        if self._working.done():
            self._working.result()
        answer: Future[Any] = Future()
        self._steps.put((lambda found: self._reach(found)(*arguments), answer))
        return answer.result(ANSWER_SECONDS)
