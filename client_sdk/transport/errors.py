"""What can go wrong between a device and its broker; none of it loses anything."""

from client_sdk.wire.errors import MisuseError, OperationalError


class TransportError(OperationalError):
    """The network or the broker failed; what was committed is published after reconnecting."""

    code = "transport_error"


class BrokerUnreachableError(TransportError):
    """No broker answered at any of the addresses."""

    code = "broker_unreachable"


class LoginRefusedError(TransportError):
    """The broker answered, and refused the login: wrong, revoked, or its directory is away."""

    code = "login_refused"


class ConnectionLostError(TransportError):
    """The connection ended, or an answer did not come in time."""

    code = "connection_lost"


class SubscriptionRefusedError(TransportError):
    """The broker does not let this login read what it asked for."""

    code = "subscription_refused"


class InvalidBrokerUrlError(MisuseError):
    """A broker address that is not ``mqtt://host[:port]``."""

    code = "invalid_broker_url"
