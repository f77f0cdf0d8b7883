"""What an app holds in its hand: sent and received messages, history, safety numbers."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from client_sdk import qr
from client_sdk.core import fingerprint
from client_sdk.machine.identity import Identity
from client_sdk.machine.rows import Message, MessageState
from client_sdk.stores.ports import StoredMessage
from client_sdk.wire.errors import OperationalError
from client_sdk.wire.ids import DeviceAddress, MessageId, UserName


class DeliveryTimeoutError(OperationalError, TimeoutError):
    """A receipt did not come in the given time; the message stays queued and may still arrive."""

    code = "delivery_timeout"


class DeliveryFailedError(OperationalError):
    """A message will not be delivered: the recipient is no contact, or its time is over."""

    code = "delivery_failed"


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A device that was enrolled; the recovery code is for paper, not for this machine.

    A linked device has none: the account's was shown when its first device was enrolled.
    """

    address: DeviceAddress
    recovery_code: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class SafetyNumber:
    """What two users compare over another channel: sixty digits, the same on both sides.

    Attributes:
        user: The other user.
        digits: Sixty digits without gaps.
        qr_text: What this side's QR code says; the other side scans it.
        scan_expected: What the other side's QR code says.
        identity: What is known of the user's account key.
    """

    user: UserName
    digits: str
    qr_text: str
    scan_expected: str
    identity: Identity

    def qr_svg(self) -> str:
        """Return this side's QR code as an SVG document."""
        return qr.svg(self.qr_text)

    def qr_lines(self) -> str:
        """Return this side's QR code as lines of half blocks for a terminal."""
        return qr.lines(self.qr_text)

    def matches(self, scanned: str) -> bool:
        """Tell in constant time whether a scan or a typed number is this one; gaps are skipped.

        Args:
            scanned: The text of the other side's QR code, or sixty digits.
        """
        text = "".join(scanned.split()).upper()
        wanted = self.scan_expected if text.startswith(fingerprint.SCAN_PREFIX) else self.digits
        return fingerprint.matches(wanted, text)

    def __str__(self) -> str:
        """Show the digits in twelve groups of five."""
        return " ".join(self.digits[i : i + 5] for i in range(0, len(self.digits), 5))


class SentTracker(Protocol):
    """What a ``Sent`` needs of its messenger."""

    async def wait_for_state(
        self,
        message_id: MessageId,
        wanted: frozenset[MessageState],
        timeout: float | None,  # noqa: ASYNC109
    ) -> MessageState:
        """Return the message's state once it is one of ``wanted`` or final."""
        ...

    async def wait_for_all_devices(
        self,
        message_id: MessageId,
        timeout: float | None,  # noqa: ASYNC109
    ) -> tuple[DeviceAddress, ...]:
        """Return the devices that have the message once all of the recipient's are among them."""
        ...

    async def devices_of(self, message_id: MessageId) -> tuple[DeviceAddress, ...]:
        """Return the devices that sent a receipt for the message."""
        ...

    async def state_of(self, message_id: MessageId) -> MessageState:
        """Return where the message is now."""
        ...

    async def why_not(self, message_id: MessageId) -> str:
        """Return why a message that failed or expired is not sent any more, and what to do."""
        ...


_DELIVERED: Final = frozenset({MessageState.DELIVERED, MessageState.READ})
_PUBLISHED: Final = _DELIVERED | {MessageState.PUBLISHED}
_READ: Final = frozenset({MessageState.READ})


class Sent:
    """A message that was queued durably."""

    def __init__(self, message_id: MessageId, tracker: SentTracker) -> None:
        """Made by ``Messenger.send``."""
        self._message_id = message_id
        self._tracker = tracker
        self._devices: tuple[DeviceAddress, ...] = ()

    def __repr__(self) -> str:
        return f"Sent(id={self.id!r})"

    @property
    def id(self) -> str:
        """The message's id, 32 hexadecimal digits."""
        return self._message_id.hex()

    @property
    def devices(self) -> tuple[DeviceAddress, ...]:
        """The recipient's devices that have the message, as of the last call that waited."""
        return self._devices

    async def state(self) -> MessageState:
        """Return where the message is now."""
        return await self._tracker.state_of(self._message_id)

    async def published(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - public API
        """Return when the broker has the message; raises as ``delivered`` does."""
        await self._wait(_PUBLISHED, timeout)

    async def delivered(self, timeout: float | None = None, all_devices: bool = False) -> None:  # noqa: ASYNC109, FBT001, FBT002 - public API
        """Return when a device of the recipient has sealed a receipt for the message.

        Args:
            timeout: Seconds; None waits for ever.
            all_devices: Wait for every device in the recipient's list, as far as it is known.

        Raises:
            DeliveryTimeoutError: No receipt in time; the message stays queued.
            DeliveryFailedError: The recipient is no contact, or the message expired.
        """
        until = None if timeout is None else time.monotonic() + timeout
        await self._wait(_DELIVERED, timeout)
        if all_devices:
            left = None if until is None else max(until - time.monotonic(), 0.0)
            self._devices = await self._tracker.wait_for_all_devices(self._message_id, left)

    async def read(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - public API
        """Return when the recipient marked the message as read; raises as ``delivered`` does."""
        await self._wait(_READ, timeout)

    async def _wait(self, wanted: frozenset[MessageState], timeout: float | None) -> None:  # noqa: ASYNC109
        state = await self._tracker.wait_for_state(self._message_id, wanted, timeout)
        self._devices = await self._tracker.devices_of(self._message_id)
        if state not in wanted:
            why = await self._tracker.why_not(self._message_id)
            raise DeliveryFailedError(
                f"message {self.id} was not delivered and is not sent any more: {why}"
            )


@dataclass(frozen=True, slots=True)
class HistoryMessage:
    """One message of a conversation, own or received.

    Attributes:
        position: Its place in the history; give it as ``before`` to read on.
        sent_at: ms since 1970 by the sender's clock.
        seq: Its number in the sending device's stream, from 1; 0 while it is queued.
    """

    position: int
    id: str
    conversation: str
    sender: str
    outgoing: bool
    state: str
    seq: int
    sent_at: int
    text: str | None = field(repr=False)
    data: bytes | None = field(repr=False)
    content_type: str | None
    reply_to: str | None


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """A message that is handed to the app.

    Attributes:
        id: 32 hexadecimal digits.
        seq: Its number in the sending device's stream.
        sent_at: ms since 1970 by the sender's clock.
        after_gap: Earlier messages of the stream did not come in time.
    """

    id: str
    sender: str
    conversation: str
    seq: int
    sent_at: int
    after_gap: bool
    text: str | None = field(repr=False)
    data: bytes | None = field(repr=False)
    content_type: str | None
    reply_to: str | None
    _mark_read: Callable[[], Awaitable[None]] = field(repr=False, compare=False)

    async def mark_read(self) -> None:
        """Tell the sender, by a sealed receipt, that this message was read."""
        await self._mark_read()


def history_message(stored: StoredMessage) -> HistoryMessage:
    """Return the app's view of a stored message."""
    one = stored.message
    return HistoryMessage(
        position=stored.position,
        id=one.message_id.hex(),
        conversation=one.conversation,
        sender=one.sender,
        outgoing=one.outgoing,
        state=str(one.state),
        seq=one.sequence,
        sent_at=one.sent_at,
        text=one.text,
        data=one.data,
        content_type=one.content_type,
        reply_to=_hex(one.reply_to),
    )


def received_message(message: Message, mark_read: Callable[[], Awaitable[None]]) -> ReceivedMessage:
    """Return the app's view of a message that is handed over."""
    return ReceivedMessage(
        id=message.message_id.hex(),
        sender=message.sender,
        conversation=message.conversation,
        seq=message.sequence,
        sent_at=message.sent_at,
        after_gap=message.after_gap,
        text=message.text,
        data=message.data,
        content_type=message.content_type,
        reply_to=_hex(message.reply_to),
        _mark_read=mark_read,
    )


def _hex(message_id: MessageId | None) -> str | None:
    return None if message_id is None else message_id.hex()
