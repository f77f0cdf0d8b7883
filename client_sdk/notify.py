"""Telling systemd that a service is ready, or ends; nothing where systemd did not start it."""

import os
import socket
from contextlib import suppress
from typing import Final

VARIABLE: Final = "NOTIFY_SOCKET"

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"


def notify(state: str) -> None:
    """Tell the service manager ``state``; a manager that is gone is not waited for.

    Source: sd_notify(3), the datagram on the socket that the environment names.
    """
    address = os.environ.get(VARIABLE, "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.setblocking(False)  # noqa: FBT003
        manager.sendto(state.encode(), address)
