"""Listening sockets, and whether the ports of some settings are free before anything is made."""

import errno
import socket
from typing import Final, NamedTuple

from broker.errors import ListenError, PortInUseError
from broker.settings import LOOPBACK, BrokerSettings

BACKLOG: Final = 512
"""Connections that the system keeps until they are accepted: a fleet that comes back at once."""


class Listener(NamedTuple):
    """One port that is listened on, and the setting that says so."""

    setting: str
    host: str
    port: int


def listeners(settings: BrokerSettings) -> list[Listener]:
    """Return everything that is listened on under ``settings``."""
    wanted = (
        ("port", settings.host, settings.port),
        ("ws_port", settings.host, settings.ws_port),
        ("metrics_port", settings.metrics_host, settings.metrics_port),
    )
    found = [Listener(name, host, port) for name, host, port in wanted if port is not None]
    if settings.broker == "nats":
        found.append(Listener("nats_port", LOOPBACK, settings.nats_port))
    return found


def require_free_ports(settings: BrokerSettings) -> None:
    """Return if every port of ``settings`` can be listened on now; raises as ``listen``."""
    for _, host, port in listeners(settings):
        listen(host, port).close()


def is_free(host: str, port: int) -> bool:
    """Tell whether ``port`` of ``host`` can be listened on now."""
    try:
        listen(host, port).close()
    except (PortInUseError, ListenError):
        return False
    return True


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; whoever calls closes it.

    Raises:
        PortInUseError: Another program has the port; nothing was started or written.
        ListenError: The system refuses host or port; nothing was started or written.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(
                f"port {port} is in use by another program; nothing was started: end that program"
                " or choose another port"
            ) from error
        raise ListenError(
            f"cannot listen on {host} port {port} ({error.strerror}); nothing was started:"
            " choose another address"
        ) from error
