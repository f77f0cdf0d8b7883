"""The way to the broker that a device was told of, under the pin that came with the addresses."""

from collections.abc import Sequence

from client_sdk.stores.ports import ClientStore
from client_sdk.transport.mqtt import Login, MqttTransport
from client_sdk.transport.tls import CaPin
from client_sdk.wire.invitation import Invitation

BrokerUrls = str | Sequence[str] | None
"""One address, several, or None for those of the invitation."""


def transport_of(
    store: ClientStore, invitation: Invitation, urls: Sequence[str], login: Login
) -> MqttTransport:
    """Return the transport of a device; other addresses change nothing about its pin.

    Args:
        store: Keeps the certificate of the pinned CA, and which address answered last.
        invitation: What the device was told, the CA's fingerprint with it.
        urls: The invitation's addresses, or those in place of them.
        login: Whose connection it is.

    Raises:
        InvalidBrokerUrlError: A URL is no broker address.
        UnencryptedBrokerError: No address can be used under the pin.
    """
    fingerprint = invitation.ca_fingerprint
    pin = None if fingerprint is None else CaPin(fingerprint, store)
    return MqttTransport(urls, login, pin, store)


def urls_of(invitation: Invitation, given: BrokerUrls) -> tuple[str, ...]:
    """Return the addresses of an invitation, or those that were given in their place."""
    if given is None:
        return invitation.broker_urls
    return (given,) if isinstance(given, str) else tuple(given)
