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


class BrokerSilentError(ConnectionLostError):
    """The connection ended after the broker had left a publication unanswered for a while."""

    code = "broker_silent"


class SubscriptionRefusedError(TransportError):
    """The broker does not let this login read what it asked for."""

    code = "subscription_refused"


class BrokerNotTrustedError(TransportError):
    """TLS with the broker did not come about; not a byte of MQTT was sent."""

    code = "broker_not_trusted"


class WrongCaError(BrokerNotTrustedError):
    """The broker's certificate is of another authority than the one that this device trusts."""

    code = "wrong_ca"


class CertificateExpiredError(BrokerNotTrustedError):
    """The broker's certificate is not valid now."""

    code = "certificate_expired"


class WrongHostError(BrokerNotTrustedError):
    """The broker's certificate is for other hosts than the one in the address."""

    code = "wrong_host"


class TlsTooOldError(BrokerNotTrustedError):
    """The broker speaks no version of TLS from 1.2 on."""

    code = "tls_too_old"


class UnencryptedBrokerError(MisuseError):
    """A device that pinned its broker's authority was to connect over the network without TLS."""

    code = "unencrypted_broker"


class InvalidBrokerUrlError(MisuseError):
    """A broker address that ``parse_broker_url`` does not take."""

    code = "invalid_broker_url"
