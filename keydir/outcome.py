"""Who asks, and what an action answers."""

from typing import NamedTuple

from client_sdk.wire.directory import Status
from client_sdk.wire.ids import DeviceAddress
from keydir.desk import Outgoing
from keydir.records import Account, Device


class Caller(NamedTuple):
    """The authentic device behind a request, and its account."""

    device: Device
    account: Account


class Outcome(NamedTuple):
    """What is replied, which device is told that its pool is low, and what else is published."""

    status: Status
    body: bytes = b""
    low: DeviceAddress | None = None
    extra: tuple[Outgoing, ...] = ()
