"""The certificates that a server shows, none of them verified."""

import ssl
from typing import Protocol, cast


class _Certificate(Protocol):
    def public_bytes(self, format: int) -> bytes: ...  # noqa: A002 - its name there


class _Inner(Protocol):
    def get_unverified_chain(self) -> list[_Certificate] | None: ...


class _Public(Protocol):
    def get_unverified_chain(self) -> list[bytes]: ...


_DER = 2
"""``_ssl.ENCODING_DER``; PEM is 1."""


def presented_chain(connected: ssl.SSLSocket) -> list[bytes]:
    """Return what a server showed in a handshake that is done, in DER, its own certificate first.

    Python has this as a public method from 3.13 on, and the same under a private name before.
    """
    if hasattr(connected, "get_unverified_chain"):
        return cast("_Public", connected).get_unverified_chain()
    inner = cast("_Inner", connected._sslobj)  # type: ignore[attr-defined] # noqa: SLF001
    return [one.public_bytes(_DER) for one in inner.get_unverified_chain() or []]
