"""What invitations must not name as an address of the broker."""

from collections.abc import Iterator

from broker.settings import BrokerSettings
from client_sdk.transport.errors import InvalidBrokerUrlError
from client_sdk.transport.urls import parse_broker_url


def refused_urls(settings: BrokerSettings) -> Iterator[str]:
    """Yield what is wrong with ``public_urls``; reads no files."""
    for url in settings.public_urls:
        try:
            address = parse_broker_url(url)
        except InvalidBrokerUrlError as error:
            yield f"public_urls: {error}"
            continue
        if address.encrypted or address.loopback:
            continue
        secure = f"{address.scheme}s://"
        if settings.has_tls:
            yield f"public_urls: {url} is without TLS, and this broker speaks it: name {secure}"
        elif not settings.allow_plaintext:
            yield (
                f"public_urls: {url} is beyond loopback and without TLS: name {secure}, or set"
                " allow_plaintext behind a VPN"
            )
