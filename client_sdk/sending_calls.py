"""The calls of a messenger that send, and what is checked before a message is queued."""

import time
from typing import Final, TypeVar

from client_sdk import entropy
from client_sdk.delivery.bell import CHECK_SECONDS
from client_sdk.delivery.clock import now_ms
from client_sdk.delivery.consent import accept_user
from client_sdk.delivery.context import Context
from client_sdk.delivery.errors import NotContactError
from client_sdk.delivery.running import Running
from client_sdk.handles import DeliveryTimeoutError, Sent
from client_sdk.machine.rows import Message, MessageState
from client_sdk.machine.state import PeerState
from client_sdk.tracking import Tracker
from client_sdk.wire.content import MessageBody, encode_message_body
from client_sdk.wire.errors import MalformedError, MisuseError, OperationalError
from client_sdk.wire.ids import MESSAGE_ID_BYTES, MessageId, UserName, parse_user

MAX_EXPIRY_SECONDS: Final = 30 * 24 * 3600
"""A message that is not delivered within 30 days expires anyway."""

Given = TypeVar("Given", str, bytes)


class SendingCalls:
    """Queue a message, and wait until it is published; a part of ``Messenger``."""

    _context: Context
    _running: Running
    _tracker: Tracker

    async def send(  # noqa: PLR0913 - public API
        self,
        to: str,
        text: str | None = None,
        *,
        data: bytes | None = None,
        content_type: str | None = None,
        reply_to: str | None = None,
        expires_in: float | None = None,
    ) -> Sent:
        """Queue a message durably; it is delivered as soon as both sides have been online.

        Args:
            to: A user.
            text: At most 60 KiB of UTF-8; either ``text`` or ``data``.
            data: At most 60 KiB.
            content_type: The media type of ``data``, at most 128 bytes.
            reply_to: The id of the message that this one answers.
            expires_in: Seconds after which it is neither sent nor shown any more.

        Raises:
            MessageTooLongError: Nothing was queued.
            NotContactError: The directory was asked, and knows no such contact.
            MisuseError: Not a user, oneself, blocked, or not exactly one of text and data.
            StoreError: Nothing was queued.
        """
        user = parse_user(to)
        now = now_ms()
        body = MessageBody(
            _of(str, text, "text"),
            _of(bytes, data, "data"),
            _of(str, content_type, "content_type"),
            None if reply_to is None else _message_id(reply_to),
            None if expires_in is None else now + _expiry_ms(expires_in),
        )
        try:
            encode_message_body(body)
        except MalformedError as error:
            raise MisuseError(f"{error}; nothing was queued") from error
        self._running.check()
        await self._check_recipient(user)
        message_id = entropy.draw_message_id()
        message = Message(
            message_id=message_id,
            conversation=user,
            sender=self._context.own.user,
            sender_device=self._context.own.address,
            outgoing=True,
            state=MessageState.QUEUED,
            sent_at=now,
            text=text,
            data=data,
            content_type=content_type,
            reply_to=body.reply_to,
            expires_at=body.expires_at,
        )
        await self._running.engine.submit(message)
        return Sent(message_id, self._tracker)

    async def wait_published(self, sent: Sent, timeout: float | None) -> None:  # noqa: ASYNC109
        """Wait until the broker has a message, or it is plain that it has to wait.

        Raises:
            DeliveryTimeoutError: Neither in time; the message stays queued.
            DeliveryFailedError: It will not be sent.
        """
        until = None if timeout is None else time.monotonic() + timeout
        engine = self._running.engine
        while not (engine.leading and engine.last_error is not None):
            left = CHECK_SECONDS if until is None else max(until - time.monotonic(), 0.0)
            try:
                await sent.published(min(left, CHECK_SECONDS))
            except DeliveryTimeoutError:
                if left <= CHECK_SECONDS and until is not None:
                    raise
            else:
                return

    async def _check_recipient(self, user: UserName) -> None:
        if user == self._context.own.user:
            raise MisuseError("a message to oneself is not sent; nothing was queued")
        state = await self._context.peers.load(user)
        if state.peer.blocked:
            raise MisuseError(f"{user} is blocked; unblock first; nothing was queued")
        if state.device_list is None and self._running.engine.connected:
            try:
                state = await self._known(user)
            except NotContactError as error:
                raise NotContactError(
                    f"{user} is no contact of yours or does not exist; nothing was queued"
                ) from error
            except OperationalError:
                return  # the directory is away: the outbox asks it later
        if state.device_list is not None and not state.trusted:
            await accept_user(self._context, user)

    async def _known(self, user: UserName) -> PeerState:
        state = await self._context.peers.load(user)
        return state if state.device_list is not None else await self._context.peers.refresh(user)


def _of(kind: type[Given], value: Given | None, name: str) -> Given | None:
    if value is not None and not isinstance(value, kind):
        raise MisuseError(f"{name} is not {kind.__name__}; nothing was queued")
    return value


def _expiry_ms(seconds: float) -> int:
    if not 0 < seconds <= MAX_EXPIRY_SECONDS:  # false for NaN, too
        raise MisuseError("expires_in is from 0 to 30 days in seconds; nothing was queued")
    return round(seconds * 1000)


def _message_id(text: str) -> MessageId:
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if len(data) != MESSAGE_ID_BYTES:
        raise MisuseError("reply_to is not a message id: 32 hexadecimal digits")
    return MessageId(data)
