"""In which order a device tries the addresses of its broker."""

import zlib
from collections.abc import Sequence
from typing import Protocol

from client_sdk.transport.urls import BrokerAddress, parse_broker_url


class AddressMemory(Protocol):
    """Where a device keeps which address answered last."""

    async def last_broker(self) -> str | None:
        """Return the address, None before the first connection."""
        ...

    async def keep_last_broker(self, url: str) -> None:
        """Keep it in place of an earlier one."""
        ...


def spread(urls: Sequence[str], login: str) -> tuple[str, ...]:
    """Return addresses in the order in which one login tries them, always the same; pure.

    Those of one scheme are the nodes of a cluster and equals: logins begin at different ones, so
    that no node has all devices. Schemes keep their order: the later ones are ways around a wall.
    """
    of_scheme: dict[str, list[str]] = {}
    for url in urls:
        of_scheme.setdefault(parse_broker_url(url).scheme, []).append(url)
    number = zlib.crc32(login.encode())
    ordered: list[str] = []
    for same in of_scheme.values():
        first = number % len(same)
        ordered += same[first:] + same[:first]
    return tuple(ordered)


class Addresses:
    """The addresses of one broker: the one that answered last, then those after it in turn."""

    def __init__(self, urls: Sequence[str], login: str, memory: AddressMemory | None) -> None:
        """Read addresses; nothing is asked of ``memory`` yet.

        Args:
            urls: At least one.
            login: Whose order it is.
            memory: Keeps what answered; None keeps it while the process runs.

        Raises:
            InvalidBrokerUrlError: A URL is no broker address.
        """
        self._known = {url: parse_broker_url(url) for url in spread(urls, login)}
        self._memory = memory
        self._last: str | None = None

    def __str__(self) -> str:
        """Return hosts and ports for people."""
        return ", ".join(address.authority for address in self._known.values())

    async def in_turn(self) -> list[tuple[str, BrokerAddress]]:
        """Return every address once, as URL and parsed, in the order to try them now."""
        if self._last is None and self._memory is not None:
            self._last = await self._memory.last_broker()
        found = list(self._known.items())
        first = next((at for at, (url, _) in enumerate(found) if url == self._last), 0)
        return found[first:] + found[:first]

    async def answered(self, url: str) -> None:
        """Remember the address of the connection that was made."""
        if url != self._last:
            self._last = url
            if self._memory is not None:
                await self._memory.keep_last_broker(url)
