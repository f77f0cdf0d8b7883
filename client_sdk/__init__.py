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
        ContactRequest,
        Delivered,
        DeviceListChanged,
        Equivocation,
        Event,
        Expired,
        Failed,
        Gap,
        IdentityChanged,
        LoginInUse,
        LoginRefused,
        MailboxFull,
        Read,
        RecipientInactive,
        RollbackSource,
        SentElsewhere,
        SessionDamaged,
        SessionRenewed,
        SetAside,
        StoreRolledBack,
    )
    from client_sdk.machine.identity import Identity
    from client_sdk.messenger import Messenger
    from client_sdk.wire.directory import Contact
    from client_sdk.wire.errors import MessagingError

_HOMES = {
    "CloneSuspected": "client_sdk.machine.events",
    "Contact": "client_sdk.wire.directory",
    "ContactRequest": "client_sdk.machine.events",
    "Delivered": "client_sdk.machine.events",
    "DeliveryFailedError": "client_sdk.handles",
    "DeliveryTimeoutError": "client_sdk.handles",
    "DeviceInfo": "client_sdk.device_handles",
    "DeviceListChanged": "client_sdk.machine.events",
    "Enrolled": "client_sdk.handles",
    "Equivocation": "client_sdk.machine.events",
    "Event": "client_sdk.machine.events",
    "Expired": "client_sdk.machine.events",
    "Failed": "client_sdk.machine.events",
    "Gap": "client_sdk.machine.events",
    "HistoryMessage": "client_sdk.handles",
    "Identity": "client_sdk.machine.identity",
    "IdentityChanged": "client_sdk.machine.events",
    "LinkRequest": "client_sdk.device_handles",
    "LoginInUse": "client_sdk.machine.events",
    "LoginRefused": "client_sdk.machine.events",
    "MailboxFull": "client_sdk.machine.events",
    "MessagingError": "client_sdk.wire.errors",
    "Messenger": "client_sdk.messenger",
    "Read": "client_sdk.machine.events",
    "ReceivedMessage": "client_sdk.handles",
    "RecipientInactive": "client_sdk.machine.events",
    "RemovedDevice": "client_sdk.device_handles",
    "RollbackSource": "client_sdk.machine.events",
    "SafetyNumber": "client_sdk.handles",
    "Sent": "client_sdk.handles",
    "SentElsewhere": "client_sdk.machine.events",
    "SessionDamaged": "client_sdk.machine.events",
    "SessionRenewed": "client_sdk.machine.events",
    "SetAside": "client_sdk.machine.events",
    "StoreRolledBack": "client_sdk.machine.events",
}

__all__ = [
    "CloneSuspected",
    "Contact",
    "ContactRequest",
    "Delivered",
    "DeliveryFailedError",
    "DeliveryTimeoutError",
    "DeviceInfo",
    "DeviceListChanged",
    "Enrolled",
    "Equivocation",
    "Event",
    "Expired",
    "Failed",
    "Gap",
    "HistoryMessage",
    "Identity",
    "IdentityChanged",
    "LinkRequest",
    "LoginInUse",
    "LoginRefused",
    "MailboxFull",
    "MessagingError",
    "Messenger",
    "Read",
    "ReceivedMessage",
    "RecipientInactive",
    "RemovedDevice",
    "RollbackSource",
    "SafetyNumber",
    "Sent",
    "SentElsewhere",
    "SessionDamaged",
    "SessionRenewed",
    "SetAside",
    "StoreRolledBack",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'client_sdk' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
