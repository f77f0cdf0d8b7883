"""The calls of a messenger about its user's own devices."""

from contextlib import suppress

from client_sdk.core.recovery_code import encode_recovery_code
from client_sdk.delivery import own_devices
from client_sdk.delivery.context import Context
from client_sdk.delivery.errors import ConnectionHeldError
from client_sdk.delivery.running import Running
from client_sdk.device_handles import DeviceInfo, LinkRequest, RemovedDevice, device_infos
from client_sdk.wire.errors import OperationalError
from client_sdk.wire.ids import DeviceAddress
from client_sdk.wire.linking import parse_link_code


class DeviceCalls:
    """List, link and remove devices; a part of ``Messenger``."""

    _context: Context
    _running: Running

    async def devices(self) -> list[DeviceInfo]:
        """Return this user's active devices, as the newest known list has them."""
        if self._running.engine.connected:
            with suppress(OperationalError):
                await self._context.peers.refresh(self._context.own.user)
        return device_infos(self._context.own.record.device_list, self._context.own.address)

    async def link_request(self) -> LinkRequest:
        """Open a link for another device of this user, from a device that is a manager.

        ``code`` is for the new device's ``enroll`` alone: carry it over by hand or as a QR code.
        It works once and for 72 hours; a newer one takes its place.

        Raises:
            LinkRefusedError: This device is no manager.
            DevicesFullError: 16 devices are active, or all numbers were used.
            ConnectionHeldError: Another program has the store's one connection.
            OperationalError: The directory cannot be asked now.
        """
        self._check()
        return LinkRequest.of(await own_devices.open_link(self._context))

    async def approve_device(
        self, request: LinkRequest | str, *, manager: bool = False
    ) -> DeviceAddress:
        """Wait for the new device with the code, and make it one of this user's devices.

        After a crash the same call goes on with the code's text.

        Args:
            request: What ``link_request`` gave, or its code.
            manager: Let the device change the list of devices, too: it gets the account's key.

        Raises:
            LinkRefusedError: Not a code of this user, or the devices have changed since.
            LinkExpiredError: Its time is over, or another took its place.
            AuthenticationError: Whoever came does not have the code; nothing was changed.
            ConnectionHeldError: Another program has the store's one connection.
            OperationalError: The directory cannot be asked now; call again.
        """
        self._check()
        code = parse_link_code(request if isinstance(request, str) else request.code)
        return await own_devices.approve(self._context, code, manager=manager)

    async def remove_device(self, number: int) -> RemovedDevice:
        """End another device of this user: its login is refused, and nobody sends to it any more.

        Where it is a manager, the account gets another key and another recovery code. The other
        managers get the key from this device, or from each other, as soon as both are online.

        Raises:
            LinkRefusedError: This device is no manager, or there is no such other device.
            ConnectionHeldError: Another program has the store's one connection.
            OperationalError: The directory cannot be asked now; call again.
        """
        self._check()
        account = await own_devices.remove(self._context, number)
        return RemovedDevice(number, None if account is None else encode_recovery_code(account))

    def _check(self) -> None:
        """Raise where this process cannot ask the directory at all."""
        self._running.check()
        if not self._running.engine.leading:
            raise ConnectionHeldError(
                "another program holds this store's connection; nothing was changed; "
                "stop it first, or ask it"
            )
