"""Broker addresses: four schemes, a host, a port and a path; pure."""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import SplitResult, urlsplit

from client_sdk.transport.errors import InvalidBrokerUrlError, UnencryptedBrokerError

DEFAULT_PATH: Final = "/mqtt"
"""Where brokers answer to WebSocket; a browser's client takes it too."""

LOOPBACK_NAME: Final = "localhost"
_PATH: Final = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%-]*)+")
_EXPECTED: Final = "expected mqtt://host:port, mqtts://host:port, ws://host/path or wss://host/path"


class Scheme(StrEnum):
    """How a broker is spoken to."""

    MQTT = "mqtt"
    MQTTS = "mqtts"
    WS = "ws"
    WSS = "wss"


_PORTS: Final = {Scheme.MQTT: 1883, Scheme.MQTTS: 8883, Scheme.WS: 80, Scheme.WSS: 443}


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """One broker, as ``parse_broker_url`` read it; ``path`` is empty without WebSocket."""

    host: str
    port: int
    scheme: Scheme = Scheme.MQTT
    path: str = ""

    @property
    def encrypted(self) -> bool:
        """Whether TLS is spoken before anything else."""
        return self.scheme in {Scheme.MQTTS, Scheme.WSS}

    @property
    def websocket(self) -> bool:
        """Whether MQTT goes in WebSocket frames."""
        return self.scheme in {Scheme.WS, Scheme.WSS}

    @property
    def loopback(self) -> bool:
        """Whether the broker, or a tunnel to it, is on this machine."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == LOOPBACK_NAME

    @property
    def authority(self) -> str:
        """Host and port as an address has them: an IPv6 address in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_broker_url(url: str) -> BrokerAddress:
    """Return the broker that ``mqtt://``, ``mqtts://``, ``ws://`` or ``wss://`` names.

    Raises:
        InvalidBrokerUrlError: It is anything else.
    """
    try:
        parts = urlsplit(url)
        scheme = Scheme(parts.scheme)
        port = parts.port
    except ValueError as error:
        raise InvalidBrokerUrlError(f"not a broker address: {url!r}; {_EXPECTED}") from error
    path = parts.path
    if scheme in {Scheme.MQTT, Scheme.MQTTS} and path in {"", "/"}:
        path = ""
    elif scheme in {Scheme.WS, Scheme.WSS}:
        path = path or DEFAULT_PATH
    host = parts.hostname
    if not host or port == 0 or not _is_plain(url, parts, path):
        raise InvalidBrokerUrlError(f"not a broker address: {url!r}; {_EXPECTED}")
    return BrokerAddress(host, _PORTS[scheme] if port is None else port, scheme, path)


def usable_urls(urls: Sequence[str], *, pinned: bool) -> tuple[str, ...]:
    """Return the addresses that a device may use, in their order.

    Where TLS is to be had nothing goes without it: whoever can block the encrypted address could
    otherwise read the login at the next one. A pinned device is left one way without TLS: alone,
    an address on this machine is a tunnel's end.

    Args:
        urls: Broker addresses.
        pinned: Whether the device pinned a private CA.

    Raises:
        InvalidBrokerUrlError: One is no broker address, or there is none.
        UnencryptedBrokerError: The device pinned a CA and none of them can be used under it.
    """
    if not urls:
        raise InvalidBrokerUrlError("no broker address was given")
    addresses = {url: parse_broker_url(url) for url in urls}
    usable = tuple(url for url, one in addresses.items() if one.encrypted)
    if not usable and pinned:
        usable = tuple(url for url, one in addresses.items() if one.loopback)
    elif not usable:
        usable = tuple(urls)
    if not usable:
        raise UnencryptedBrokerError(
            f"this device pinned its server's authority and speaks only TLS over the network, not "
            f"{', '.join(urls)}; nothing was sent; use an address with mqtts:// or wss://"
        )
    return usable


def _is_plain(url: str, parts: SplitResult, path: str) -> bool:
    """Tell whether nothing is there that would be left out, or would end a line of HTTP."""
    whole = url.isprintable() and not any(one.isspace() for one in url)
    extra = parts.query or parts.fragment or parts.username is not None
    in_path = _PATH.fullmatch(path) is not None if parts.scheme.startswith("ws") else not path
    return whole and not extra and in_path
