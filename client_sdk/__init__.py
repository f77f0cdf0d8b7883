"""End-to-end encrypted messaging over MQTT: the SDK of a device.

The names are imported when they are first used: the servers need ``client_sdk.wire`` alone.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from client_sdk.device_handles import DeviceInfo, LinkRequest, RemovedDevice
    from client_sdk.handles import (
        DeliveryFailedError,
        DeliveryTimeoutError,
        Enrolled,
        HistoryMessage,
        ReceivedMessage,
        SafetyNumber,
        Sent,
    )
    from client_sdk.machine.events import (
        CloneSuspected,
        SessionDamaged,
        SessionRenewed,
        StoreRolledBack,
    )
    from client_sdk.messenger import Messenger
    from client_sdk.wire.errors import MessagingError

_HOMES = {
    "CloneSuspected": "client_sdk.machine.events",
    "DeliveryFailedError": "client_sdk.handles",
    "DeliveryTimeoutError": "client_sdk.handles",
    "DeviceInfo": "client_sdk.device_handles",
    "Enrolled": "client_sdk.handles",
    "HistoryMessage": "client_sdk.handles",
    "LinkRequest": "client_sdk.device_handles",
    "MessagingError": "client_sdk.wire.errors",
    "Messenger": "client_sdk.messenger",
    "ReceivedMessage": "client_sdk.handles",
    "RemovedDevice": "client_sdk.device_handles",
    "SafetyNumber": "client_sdk.handles",
    "Sent": "client_sdk.handles",
    "SessionDamaged": "client_sdk.machine.events",
    "SessionRenewed": "client_sdk.machine.events",
    "StoreRolledBack": "client_sdk.machine.events",
}

__all__ = [
    "CloneSuspected",
    "DeliveryFailedError",
    "DeliveryTimeoutError",
    "DeviceInfo",
    "Enrolled",
    "HistoryMessage",
    "LinkRequest",
    "MessagingError",
    "Messenger",
    "ReceivedMessage",
    "RemovedDevice",
    "SafetyNumber",
    "Sent",
    "SessionDamaged",
    "SessionRenewed",
    "StoreRolledBack",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'client_sdk' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
