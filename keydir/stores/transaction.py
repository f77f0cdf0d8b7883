"""One transaction on either database: the same statements, made of SQLAlchemy's expressions."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from sqlalchemy import Connection

from keydir.stores.accounts import SqlAccounts
from keydir.stores.buckets import SqlBuckets
from keydir.stores.counters import SqlCounters
from keydir.stores.invitations import SqlAnswers, SqlInvitations, SqlLogins, SqlSettings
from keydir.stores.links import SqlLinks
from keydir.stores.prekeys import SqlPrekeys
from keydir.stores.replicas import SqlReplicas


@dataclass(frozen=True)
class SqlTransaction:
    """One open transaction, see ``Transaction``."""

    connection: Connection

    @cached_property
    def accounts(self) -> SqlAccounts:
        """Users and devices."""
        return SqlAccounts(self.connection)

    @cached_property
    def prekeys(self) -> SqlPrekeys:
        """Published prekeys."""
        return SqlPrekeys(self.connection)

    @cached_property
    def counters(self) -> SqlCounters:
        """Reports of stores."""
        return SqlCounters(self.connection)

    @cached_property
    def buckets(self) -> SqlBuckets:
        """Token buckets."""
        return SqlBuckets(self.connection)

    @cached_property
    def replicas(self) -> SqlReplicas:
        """Who answers."""
        return SqlReplicas(self.connection)

    @cached_property
    def answers(self) -> SqlAnswers:
        """Kept replies."""
        return SqlAnswers(self.connection)

    @cached_property
    def invitations(self) -> SqlInvitations:
        """Invitations."""
        return SqlInvitations(self.connection)

    @cached_property
    def links(self) -> SqlLinks:
        """Links of further devices."""
        return SqlLinks(self.connection)

    @cached_property
    def logins(self) -> SqlLogins:
        """MQTT logins."""
        return SqlLogins(self.connection)

    @cached_property
    def settings(self) -> SqlSettings:
        """Named texts."""
        return SqlSettings(self.connection)


@contextmanager
def flushed(connection: Connection) -> Iterator[SqlTransaction]:
    """Yield the parts of an open transaction; what they hold back is written at the end."""
    transaction = SqlTransaction(connection)
    yield transaction
    transaction.buckets.flush()
