"""The public API: one device that sends, receives and keeps its sessions by itself."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Self, TypeVar

from client_sdk import entropy, joining
from client_sdk.delivery.bell import wait_for
from client_sdk.delivery.broker import transport_of
from client_sdk.delivery.clock import now_ms
from client_sdk.delivery.consent import accept_user, set_blocked
from client_sdk.delivery.context import Context, open_context
from client_sdk.delivery.engine import Engine
from client_sdk.delivery.errors import (
    NotContactError,
    NotEnrolledError,
)
from client_sdk.delivery.lease import ConnectionLease
from client_sdk.delivery.running import Running
from client_sdk.device_calls import DeviceCalls
from client_sdk.handles import (
    DeliveryTimeoutError,
    Enrolled,
    HistoryMessage,
    Sent,
    history_message,
)
from client_sdk.handover import Handover, MessageIterator
from client_sdk.identities import IdentityCalls
from client_sdk.machine.device import DeviceRecord, OwnDevice, Stage, load_device
from client_sdk.machine.events import Event
from client_sdk.machine.linking import stored_device
from client_sdk.machine.rows import Message, MessageState
from client_sdk.machine.state import PeerState
from client_sdk.stores.ports import Counts
from client_sdk.stores.sqlite import SqliteStore
from client_sdk.tracking import Tracker
from client_sdk.transport.errors import TransportError
from client_sdk.transport.mqtt import Login
from client_sdk.wire.content import MessageBody, encode_message_body
from client_sdk.wire.errors import MalformedError, MisuseError, OperationalError
from client_sdk.wire.ids import MESSAGE_ID_BYTES, DeviceAddress, MessageId, UserName, parse_user
from client_sdk.wire.invitation import password_text

MAX_HISTORY: Final = 1000
MAX_POSITION: Final = 2**63 - 1
MAX_EXPIRY_SECONDS: Final = 30 * 24 * 3600
"""A message that is not delivered within 30 days expires anyway."""

_CHECK_SECONDS: Final = 1.0

StorePath = str | Path
Given = TypeVar("Given", str, bytes)


class Messenger(IdentityCalls, DeviceCalls):
    """One open device; made by ``Messenger.open``."""

    def __init__(self, context: Context, running: Running) -> None:
        """Use ``Messenger.open``."""
        self._context = context
        self._running = running
        self._handover = Handover(context, running)
        self._tracker = Tracker(context, running)

    @classmethod
    async def enroll(
        cls,
        invitation: str,
        store: StorePath,
        *,
        passphrase: str | None = None,
        broker_url: str | None = None,
    ) -> Enrolled:
        """Redeem an invitation: make keys, join the directory, publish prekeys.

        After a crash the same call with the same store goes on where it stopped.

        Args:
            invitation: The line that the operator gave, or the link code of another device of
                yours: then this waits until that device approves.
            store: Where the device's store is made, mode 0600.
            passphrase: Encrypts the store; without one a key file is made beside it.
            broker_url: In place of the addresses in the invitation.

        Raises:
            InvalidInvitationError: The line is not a whole invitation; nothing was stored.
            InvitationRefusedError: Used, expired or withdrawn; nothing was stored.
            AlreadyEnrolledError: The store is another device's; it is unchanged.
            BrokerNotTrustedError: The broker's certificate is not to be trusted; nothing was sent.
            UnencryptedBrokerError: The invitation pins a CA and ``broker_url`` is without TLS.
            TransportError: The broker is away; call again.
        """
        return await joining.enroll(invitation, Path(store), passphrase, broker_url)

    @classmethod
    async def recover(
        cls,
        invitation: str,
        store: StorePath,
        *,
        recovery_code: str,
        passphrase: str | None = None,
        broker_url: str | None = None,
    ) -> Enrolled:
        """Come back after losing all devices: a new device under the same account key.

        Contacts see no other identity, and send to the new device what the lost ones had not
        receipted. The lost devices are suspended. After a crash the same call goes on where it
        stopped.

        Args:
            invitation: The line that the operator gave for this, by ``invite --recover``.
            store: Where the new device's store is made, mode 0600.
            recovery_code: What was shown when the account was made.
            passphrase: Encrypts the store; without one a key file is made beside it.
            broker_url: In place of the addresses in the invitation.

        Raises:
            InvalidRecoveryCodeError: It has a typing error; nothing was changed: call again.
            WrongRecoveryCodeError: It is another account's; the same.
            WrongInvitationError: The invitation is for a new account; nothing was stored.
            InvitationRefusedError: Used, expired, withdrawn, or the account's devices have
                changed since it was made; ask for a new one.
            AlreadyEnrolledError: The store is another device's; it is unchanged.
            TransportError: The broker is away; call again.
        """
        return await joining.recover(invitation, Path(store), recovery_code, passphrase, broker_url)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        store: StorePath,
        *,
        passphrase: str | None = None,
        broker_url: str | None = None,
        online: bool = True,
    ) -> AsyncIterator[Self]:
        """Open a device: it connects, catches up and stays connected until the context is left.

        Works without network: what is sent is queued, what was received can be read.

        Args:
            store: The device's store.
            passphrase: What the store was made with.
            broker_url: In place of the addresses in the invitation; a pinned CA stays pinned.
            online: False only reads and writes the store; another process may be connected.

        Raises:
            StoreMissingError: There is no store; enroll first.
            StoreLockedError: The passphrase is wrong, or the file is no store.
            NotEnrolledError: The enrolment was not finished; call ``enroll`` again.
            UnencryptedBrokerError: The device pinned a CA and ``broker_url`` is without TLS.
        """
        path = Path(store)
        opened = SqliteStore.open(path, passphrase)
        lease = ConnectionLease(path)
        try:
            own = await load_own(opened)
            invitation = own.record.invitation
            urls = invitation.broker_urls if broker_url is None else (broker_url,)
            login = Login(own.address, password_text(own.record.credential))
            transport = transport_of(opened, invitation, urls, login)
            context = open_context(opened, own)
            if online:
                lease.acquire()
            engine = Engine(context, transport, lease)
            running = Running(context, engine, start=online)
            try:
                yield cls(context, running)
            finally:
                await running.close()
        finally:
            lease.release()
            await opened.close()

    @property
    def address(self) -> DeviceAddress:
        """This device's address, such as ``alice-1``."""
        return self._context.own.address

    @property
    def user(self) -> UserName:
        """The user whose device this is."""
        return self._context.own.user

    @property
    def role(self) -> str:
        """This user's role in the directory's policy."""
        return self._context.own.record.role

    @property
    def connected(self) -> bool:
        """Whether this process has a connection to the broker now."""
        return self._running.engine.connected

    @property
    def leading(self) -> bool:
        """Whether this process holds the store's one connection; another one may."""
        return self._running.engine.leading

    @property
    def connection_error(self) -> TransportError | None:
        """Why there is no connection now, or None."""
        return self._running.engine.last_error

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
            sender=self.user,
            sender_device=self.address,
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

    def messages(self) -> MessageIterator:
        """Return an async iterator over received messages, in the order of each sending device.

        A message is taken as handled when the loop asks for the next one. One whose handler
        raised is offered again by the next call; after three tries it is set aside with an
        event.
        """
        return self._handover.messages()

    def events(self) -> AsyncIterator[Event]:
        """Return an async iterator over what happens beside messages, see ``machine.events``."""
        return self._context.events.take()

    async def history(
        self, conversation: str, *, limit: int = 50, before: int | None = None
    ) -> list[HistoryMessage]:
        """Return the newest messages of a conversation, own ones too, oldest first.

        Args:
            conversation: A user.
            limit: At most this many, up to 1,000.
            before: Only messages before this ``position``.
        """
        if not 1 <= limit <= MAX_HISTORY:
            raise MisuseError(f"limit is from 1 to {MAX_HISTORY}")
        if before is not None and not 0 <= before <= MAX_POSITION:
            raise MisuseError("before is the position of a message in the history")
        stored = await self._context.store.history(parse_user(conversation), limit, before)
        now = now_ms()
        return [history_message(one) for one in stored if not _is_over(one.message, now)]

    async def requests(self) -> list[HistoryMessage]:
        """Return the first waiting message of every stranger, under an open policy."""
        return [history_message(one) for one in await self._context.store.requests()]

    async def accept(self, user: str) -> None:
        """Take a stranger as a contact: what waits is handed over and receipted."""
        await accept_user(self._context, parse_user(user))

    async def block(self, user: str) -> None:
        """Drop what a user sends from now on, without a receipt."""
        await set_blocked(self._context, parse_user(user), blocked=True)

    async def unblock(self, user: str) -> None:
        """Take a block back."""
        await set_blocked(self._context, parse_user(user), blocked=False)

    async def counts(self) -> Counts:
        """Return how much waits: queued, under way, unread, one-time prekeys uploaded."""
        return await self._context.store.counts()

    async def wait_connected(self, timeout: float) -> bool:  # noqa: ASYNC109 - public API
        """Wait until this process is connected, or knows why not; tell whether it is."""
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            ticket = self._context.changed_bell.ticket()
            self._running.check()
            if self.connected or self.connection_error is not None:
                break
            await wait_for(ticket, min(_CHECK_SECONDS, max(until - time.monotonic(), 0)))
        return self.connected

    async def wait_published(self, sent: Sent, timeout: float | None) -> None:  # noqa: ASYNC109
        """Wait until the broker has a message, or it is plain that it has to wait.

        Raises:
            DeliveryTimeoutError: Neither in time; the message stays queued.
            DeliveryFailedError: It will not be sent.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while not (self.leading and self.connection_error is not None):
            left = _CHECK_SECONDS if until is None else max(until - time.monotonic(), 0.0)
            try:
                await sent.published(min(left, _CHECK_SECONDS))
            except DeliveryTimeoutError:
                if left <= _CHECK_SECONDS and until is not None:
                    raise
            else:
                return

    async def _check_recipient(self, user: UserName) -> None:
        if user == self.user:
            raise MisuseError("a message to oneself is not sent; nothing was queued")
        state = await self._context.peers.load(user)
        if state.peer.blocked:
            raise MisuseError(f"{user} is blocked; unblock first; nothing was queued")
        if state.device_list is None and self.connected:
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


async def load_own(store: SqliteStore) -> OwnDevice:
    """Return the device of an open store.

    Raises:
        NotEnrolledError: Its enrolment was not finished.
    """
    stored = await store.device()
    record = None if stored is None else stored_device(stored)
    if not isinstance(record, DeviceRecord) or record.stage != Stage.READY:
        raise NotEnrolledError(
            "the enrolment of this store was not finished; enroll again with the same invitation"
        )
    return load_device(record)


def _of(kind: type[Given], value: Given | None, name: str) -> Given | None:
    if value is not None and not isinstance(value, kind):
        raise MisuseError(f"{name} is not {kind.__name__}; nothing was queued")
    return value


def _expiry_ms(seconds: float) -> int:
    if not 0 < seconds <= MAX_EXPIRY_SECONDS:  # false for NaN, too
        raise MisuseError("expires_in is from 0 to 30 days in seconds; nothing was queued")
    return round(seconds * 1000)


def _is_over(message: Message, now: int) -> bool:
    """Tell whether a received message is not to be shown any more."""
    return not message.outgoing and message.expires_at is not None and message.expires_at <= now


def _message_id(text: str) -> MessageId:
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if len(data) != MESSAGE_ID_BYTES:
        raise MisuseError("reply_to is not a message id: 32 hexadecimal digits")
    return MessageId(data)
