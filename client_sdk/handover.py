"""Handing messages to the app: at least once, in order, done when the next one is asked for."""

from typing import Final, Self

from client_sdk.delivery.bell import CHECK_SECONDS, wait_for
from client_sdk.delivery.clock import certain_ms, now_ms
from client_sdk.delivery.context import Context
from client_sdk.delivery.running import Running
from client_sdk.handles import ReceivedMessage, received_message
from client_sdk.machine.changes import Changes
from client_sdk.machine.events import SetAside
from client_sdk.machine.rows import Message, MessageState, ReceiptDue, StateChange
from client_sdk.wire.errors import MisuseError
from client_sdk.wire.ids import MessageId, UserName

MAX_TRIES: Final = 3
"""Times that a message is offered to a handler that fails, before it is set aside."""

PAGE: Final = 64

MessageKey = tuple[UserName, MessageId]


class Handover:
    """What of one messenger's messages was offered and not yet handled."""

    def __init__(self, context: Context, running: Running) -> None:
        """Start with nothing offered."""
        self._context = context
        self._running = running
        self._tries: dict[MessageKey, int] = {}
        self._newest: MessageIterator | None = None

    def messages(self) -> "MessageIterator":
        """Return a new iterator; it begins with what the one before it did not finish."""
        self._newest = MessageIterator(self)
        return self._newest

    async def next(self, iterator: "MessageIterator", page: list[Message]) -> Message:
        """Return the next message for the newest iterator, waiting for one."""
        while True:
            if iterator is not self._newest:
                raise MisuseError("another loop over messages() was started; use only one")
            ticket = self._context.changed_bell.ticket()
            self._running.check()
            if self._running.engine.leading and not page:
                page.extend(one.message for one in await self._context.store.ready(PAGE))
            if not page:
                await wait_for(ticket, CHECK_SECONDS)
                continue
            message = page.pop(0)
            if message.expires_at is not None and message.expires_at <= certain_ms():
                await self._finish(message, MessageState.EXPIRED)
                continue
            key = (message.sender, message.message_id)
            tries = self._tries.get(key, 0)
            if tries < MAX_TRIES:
                self._tries[key] = tries + 1
                return message
            await self._finish(message, MessageState.SET_ASIDE)
            self._context.events.emit([SetAside(message.message_id, message.sender)])

    async def handled(self, message: Message) -> None:
        """Commit that the app is done with a message."""
        await self._finish(message, MessageState.HANDLED)

    async def mark_read(self, message: Message) -> None:
        """Owe the sender a receipt that the message was read."""
        due = ReceiptDue(message.sender, message.message_id, read=True, due_since=now_ms())
        await self._context.store.commit(Changes(receipts_due=(due,)))
        self._context.receipts_bell.ring()

    async def _finish(self, message: Message, state: MessageState) -> None:
        change = StateChange(message.message_id, message.sender, state, message.after_gap)
        # After a power failure it may be offered again; a crash of the process undoes nothing.
        await self._context.store.commit(Changes(states=(change,)), relaxed=True)
        self._tries.pop((message.sender, message.message_id), None)


class MessageIterator:
    """The messages of one device, see ``Messenger.messages``."""

    def __init__(self, handover: Handover) -> None:
        """Made by ``Messenger.messages``."""
        self._handover = handover
        self._page: list[Message] = []
        self._offered: Message | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ReceivedMessage:
        await self.done()
        message = await self._handover.next(self, self._page)
        self._offered = message
        return received_message(message, lambda: self._handover.mark_read(message))

    async def done(self) -> None:
        """Take the message handed over last as handled, without asking for another."""
        if self._offered is not None:
            await self._handover.handled(self._offered)
            self._offered = None
