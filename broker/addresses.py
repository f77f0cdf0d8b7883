"""How a server is named to devices."""

from typing import Final

from broker.settings import LOOPBACK, BrokerSettings
from broker.tls import certified_hosts, private_ca_fingerprint

ANY_HOSTS: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - recognised, not listened on


def pinned_ca(settings: BrokerSettings) -> bytes | None:
    """Return what clients pin: the fingerprint of a private CA that ends the served chain."""
    return None if settings.tls_cert is None else private_ca_fingerprint(settings.tls_cert)


def public_host(settings: BrokerSettings) -> str:
    """Return the host that devices are told: with TLS they refuse one that is not certified."""
    if settings.tls_cert is None:
        return LOOPBACK if settings.host in ANY_HOSTS else settings.host
    certified = certified_hosts(settings.tls_cert)
    return settings.host if settings.host in certified else certified[0]


def url_of(scheme: str, host: str, port: int) -> str:
    """Return the address of a port."""
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
