"""Following one's own messages: published, delivered, read, by one device or by all."""

import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from client_sdk.delivery.bell import CHECK_SECONDS, wait_for
from client_sdk.delivery.context import Context
from client_sdk.delivery.running import Running
from client_sdk.handles import DeliveryTimeoutError
from client_sdk.machine.rows import MessageState
from client_sdk.stores.ports import StoredMessage
from client_sdk.wire.errors import MisuseError
from client_sdk.wire.ids import DeviceAddress, MessageId

FINAL_STATES: Final = frozenset({MessageState.FAILED, MessageState.EXPIRED, MessageState.READ})

Found = TypeVar("Found")


class Tracker:
    """What a ``Sent`` needs of its messenger, see ``handles.SentTracker``."""

    def __init__(self, context: Context, running: Running) -> None:
        """Look into the store of an open device."""
        self._context = context
        self._running = running

    async def state_of(self, message_id: MessageId) -> MessageState:
        """Return where an own message is now; see ``Sent.state``."""
        return (await self._own_message(message_id)).message.state

    async def why_not(self, message_id: MessageId) -> str:
        """Return why an own message is not sent any more, and what to do."""
        message = (await self._own_message(message_id)).message
        user = message.conversation
        if message.state is MessageState.EXPIRED:
            return "its time was over (expired): send it again if it still matters"
        if message.sequence:  # it had been encrypted, and only another key ends that
            return (
                f"{user} has another key since (identity_changed): compare safety numbers "
                f"(safety-number {user}), then send it again"
            )
        return f"{user} is no contact of yours or does not exist (not_contact): see contacts"

    async def _own_message(self, message_id: MessageId) -> StoredMessage:
        stored = await self._context.store.message(message_id)
        if stored is None:
            raise MisuseError("no own message has this id")
        return stored

    async def wait_for_state(
        self,
        message_id: MessageId,
        wanted: frozenset[MessageState],
        timeout: float | None,  # noqa: ASYNC109 - see ``Sent``
    ) -> MessageState:
        """Return the state once it is wanted or final; see ``Sent.delivered``."""

        async def look() -> MessageState | None:
            state = await self.state_of(message_id)
            return state if state in wanted or state in FINAL_STATES else None

        return await self._wait_until(look, message_id, timeout)

    async def wait_for_all_devices(
        self,
        message_id: MessageId,
        timeout: float | None,  # noqa: ASYNC109 - see ``Sent``
    ) -> tuple[DeviceAddress, ...]:
        """Return all devices of the recipient once each has the message; see ``Sent.delivered``."""

        async def look() -> tuple[DeviceAddress, ...] | None:
            stored = await self._own_message(message_id)
            devices = await self.devices_of(message_id)
            state = await self._context.peers.load(stored.message.conversation)
            return devices if set(state.awaited) <= set(devices) else None

        return await self._wait_until(look, message_id, timeout)

    async def _wait_until(
        self,
        look: Callable[[], Awaitable[Found | None]],
        message_id: MessageId,
        timeout: float | None,  # noqa: ASYNC109 - see ``Sent``
    ) -> Found:
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            ticket = self._context.changed_bell.ticket()
            self._running.check()
            found = await look()
            if found is not None:
                return found
            left = CHECK_SECONDS if until is None else until - time.monotonic()
            if left <= 0:
                raise DeliveryTimeoutError(
                    f"message {message_id.hex()} is {(await self.state_of(message_id)).told} so "
                    "far; it is kept and may still arrive: do not send it again"
                )
            await wait_for(ticket, min(left, CHECK_SECONDS))

    async def devices_of(self, message_id: MessageId) -> tuple[DeviceAddress, ...]:
        """Return the devices that have an own message; see ``Sent.devices``."""
        found = await self._context.store.deliveries(message_id)
        return tuple(one.device for one in found)
