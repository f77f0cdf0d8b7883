"""What an app holds of its user's own devices."""

from dataclasses import dataclass, field
from typing import Self

from client_sdk import qr
from client_sdk.wire.bundle import DeviceList
from client_sdk.wire.ids import DeviceAddress, device_address
from client_sdk.wire.linking import LinkCode, format_link_code


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """One of one's own active devices.

    Attributes:
        added_at: ms since 1970 by the clock of the device that added it.
        manager: Whether it may link and remove devices.
        this: Whether it is the device that is asked.
    """

    number: int
    address: DeviceAddress
    added_at: int
    manager: bool
    this: bool


@dataclass(frozen=True, slots=True)
class LinkRequest:
    """An open link; the code is a secret between the two devices.

    Attributes:
        code: The line for the new device's ``enroll``.
        address: What the new device will be called.
        expires_at: ms since 1970.
    """

    code: str = field(repr=False)
    address: DeviceAddress
    expires_at: int

    @classmethod
    def of(cls, code: LinkCode) -> Self:
        """Return the app's view of a link code."""
        return cls(format_link_code(code), code.address, code.invitation.expires_at)

    def qr_svg(self) -> str:
        """Return the code as a QR code, a whole SVG document; as secret as the code itself.

        Raises:
            TextTooLongError: Too many broker addresses are in it; pass ``code`` on as text.
        """
        return qr.svg(self.code)


@dataclass(frozen=True, slots=True)
class RemovedDevice:
    """A device that was removed; ``recovery_code`` is new where it was a manager, else None."""

    number: int
    recovery_code: str | None = field(repr=False)


def device_infos(device_list: DeviceList, this: DeviceAddress) -> list[DeviceInfo]:
    """Return the app's view of one's own device list."""
    found: list[DeviceInfo] = []
    for entry in device_list.devices:
        address = device_address(device_list.user, entry.number)
        found.append(
            DeviceInfo(entry.number, address, entry.added_at, entry.manager, address == this)
        )
    return found
