"""What the directory needs of its store: one transaction a request, in small parts."""

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from keydir.table_ports import (
    Accounts,
    Answers,
    Buckets,
    Counters,
    Invitations,
    Links,
    Logins,
    Prekeys,
    Replicas,
    Settings,
)

Result = TypeVar("Result")


class Transaction(Protocol):
    """One transaction: all of it is written, or none."""

    @property
    def accounts(self) -> Accounts:
        """Users and devices."""
        ...

    @property
    def prekeys(self) -> Prekeys:
        """Published prekeys."""
        ...

    @property
    def counters(self) -> Counters:
        """Reports of stores."""
        ...

    @property
    def buckets(self) -> Buckets:
        """Token buckets."""
        ...

    @property
    def replicas(self) -> Replicas:
        """Who answers."""
        ...

    @property
    def answers(self) -> Answers:
        """Kept replies."""
        ...

    @property
    def invitations(self) -> Invitations:
        """Invitations."""
        ...

    @property
    def links(self) -> Links:
        """Links of further devices."""
        ...

    @property
    def logins(self) -> Logins:
        """MQTT logins."""
        ...

    @property
    def settings(self) -> Settings:
        """Named texts."""
        ...


class DirectoryStore(Protocol):
    """Durable state of one directory; used by many processes at a time."""

    @property
    def concurrency(self) -> int:
        """How many steps make sense at one time."""
        ...

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Open a transaction; committed durably when left without an error.

        Only work that was handed to ``submit`` may open one.

        Raises:
            DirectoryStoreError: The database failed; nothing of the transaction was kept.
        """
        ...

    def submit(self, work: Callable[[], Result]) -> Future[Result]:
        """Run work that opens transactions; it is begun again where another broke it off."""
        ...

    def close(self) -> None:
        """End what is under way and close the database."""
        ...
