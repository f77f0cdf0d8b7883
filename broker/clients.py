"""Who is connected and who is away but remembered: clients by client id, one connection each."""

from collections.abc import Callable

from broker.acl import Publication
from broker.connection import Connection
from broker.limits import BrokerLimits
from broker.login import Admitted
from broker.logs import get_logger
from broker.ports import Credentials
from broker.statistics import Statistics
from broker.subscriber import Subscriber
from broker.subscriptions import Subscriptions

_log = get_logger(__name__)


class Clients:
    """Subscribers with a connection, persistent ones without, and their subscriptions."""

    def __init__(
        self,
        limits: BrokerLimits,
        statistics: Statistics,
        leave_will: Callable[[str, Publication], object],
    ) -> None:
        """Start with nobody; ``leave_will`` publishes the last will of a login."""
        self.connections: dict[str, Connection] = {}
        self.absent: dict[str, Subscriber] = {}
        """Persistent sessions without a connection, the one that went first in front."""
        self.routes: Subscriptions[Subscriber] = Subscriptions()
        self._limits = limits
        self._statistics = statistics
        self._leave_will = leave_will

    def subscriber(self, admitted: Admitted) -> tuple[Subscriber, bool]:
        """Return the state of a client that logged in, and whether it is from an earlier time.

        An older connection of the same client is closed. A session of another login is not
        handed on.
        """
        client_id, identity, connect = admitted
        older = self.connections.get(client_id)
        if older is not None:
            older.close("the same login connected again")
            self.end(older)
        known = self.absent.pop(client_id, None)
        if known is not None and (connect.clean or known.login != identity.login):
            self._forget(known)
            known = None
        subscriber = known or Subscriber(client_id, identity.login, self._limits)
        subscriber.persistent = not connect.clean
        return subscriber, known is not None

    def begin(self, connection: Connection, admitted: Admitted) -> None:
        """Note a connection that takes over its subscriber."""
        connection.will = admitted.connect.will
        connection.keep_alive = admitted.connect.keep_alive
        connection.subscriber.connection = connection
        self.connections[connection.subscriber.client_id] = connection
        self._statistics.connections += 1
        _log.info("connected", login=connection.login)

    def end(self, connection: Connection) -> None:
        """Let go of a connection whose link is closed, or close it; once only."""
        subscriber = connection.subscriber
        if subscriber.connection is not connection:
            return
        connection.close("ended")
        subscriber.connection = None
        del self.connections[subscriber.client_id]
        _log.info("connection closed", login=connection.login, reason=connection.link.reason)
        if subscriber.persistent:
            subscriber.interrupted(replaying=connection.replaying)
            self._remember(subscriber)
        else:
            self._forget(subscriber)
        if connection.will is not None:
            self._leave_will(connection.login, connection.will)

    def check(self, credentials: Credentials) -> None:
        """Close connections and forget sessions whose login was revoked or has another secret."""
        for connection in list(self.connections.values()):
            if credentials.secret_hash(connection.login) != connection.secret_hash:
                connection.will = None
                connection.subscriber.persistent = False
                connection.close("credential revoked")
                self.end(connection)
        for subscriber in list(self.absent.values()):
            if credentials.secret_hash(subscriber.login) is None:
                self._forget(subscriber)

    def close_silent(self, now: float) -> None:
        """Close the connections that sent nothing for longer than they promised."""
        for connection in list(self.connections.values()):
            if connection.is_silent(now):
                connection.close("silent beyond its keep-alive time")
                self.end(connection)

    def _remember(self, subscriber: Subscriber) -> None:
        self.absent[subscriber.client_id] = subscriber
        if len(self.absent) > self._limits.max_sessions:
            self._statistics.drop("sessions")
            self._forget(next(iter(self.absent.values())))

    def _forget(self, subscriber: Subscriber) -> None:
        self.absent.pop(subscriber.client_id, None)
        for topic_filter in subscriber.filters:
            self.routes.remove(topic_filter, subscriber)
        subscriber.filters.clear()
