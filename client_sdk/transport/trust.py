"""Whom the connections of one transport trust, and how a pinned CA is learned."""

import asyncio
import ssl

from client_sdk.transport.tls import (
    CaPin,
    bound_to,
    pinned_certificate,
    pinned_context,
    public_context,
)
from client_sdk.transport.urls import BrokerAddress


class Trust:
    """Makes the TLS settings of each address once; a pin is never given up for public CAs."""

    def __init__(self, pin: CaPin | None) -> None:
        """Trust the pinned CA alone, or without a pin the system's authorities."""
        self._pin = pin
        self._contexts: dict[BrokerAddress, ssl.SSLContext] = {}

    async def context(self, address: BrokerAddress) -> ssl.SSLContext | None:
        """Return the TLS settings for an address, None where it is not encrypted.

        Files are read and servers are asked in threads: the event loop goes on.

        Raises:
            BrokerNotTrustedError: The server does not show the pinned CA.
            OSError: The server did not answer.
            StoreError: The CA could not be kept.
        """
        if not address.encrypted:
            return None
        known = self._contexts.get(address)
        if known is None:
            known = self._contexts[address] = bound_to(await self._make(address), address)
        return known

    async def _make(self, address: BrokerAddress) -> ssl.SSLContext:
        if self._pin is None:
            return await asyncio.to_thread(public_context)
        return pinned_context(await self._pinned_ca(address, self._pin))

    async def _pinned_ca(self, address: BrokerAddress, pin: CaPin) -> bytes:
        known = await pin.memory.pinned_ca()
        if known is not None and pin.names(known):
            return known
        found = await asyncio.to_thread(pinned_certificate, address, pin)
        await pin.memory.keep_pinned_ca(found)
        return found
