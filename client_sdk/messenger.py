"""The public API: one device that sends, receives and keeps its sessions by itself."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Self

from client_sdk import joining
from client_sdk.delivery.bell import CHECK_SECONDS, wait_for
from client_sdk.delivery.broker import BrokerUrls, transport_of, urls_of
from client_sdk.delivery.clock import now_ms
from client_sdk.delivery.consent import accept_user, set_blocked
from client_sdk.delivery.context import Context, open_context
from client_sdk.delivery.engine import Engine
from client_sdk.delivery.errors import NotEnrolledError
from client_sdk.delivery.lease import ConnectionLease
from client_sdk.delivery.running import Running
from client_sdk.device_calls import DeviceCalls
from client_sdk.handles import Enrolled, HistoryMessage, history_message
from client_sdk.handover import Handover, MessageIterator
from client_sdk.identities import IdentityCalls
from client_sdk.machine.device import DeviceRecord, OwnDevice, Stage, load_device
from client_sdk.machine.events import Event
from client_sdk.machine.linking import stored_device
from client_sdk.machine.rows import Message
from client_sdk.sending_calls import SendingCalls
from client_sdk.stores.ports import Counts
from client_sdk.stores.sqlite import SqliteStore
from client_sdk.tracking import Tracker
from client_sdk.transport.errors import TransportError
from client_sdk.transport.mqtt import Login
from client_sdk.transport.urls import usable_urls
from client_sdk.wire.errors import MisuseError
from client_sdk.wire.ids import DeviceAddress, UserName, parse_user
from client_sdk.wire.invitation import password_text

MAX_HISTORY: Final = 1000
MAX_POSITION: Final = 2**63 - 1

StorePath = str | Path


class Messenger(SendingCalls, IdentityCalls, DeviceCalls):
    """One open device; made by ``Messenger.open``."""

    def __init__(self, context: Context, running: Running, urls: tuple[str, ...]) -> None:
        """Use ``Messenger.open``."""
        self._context = context
        self._running = running
        self._urls = urls
        self._handover = Handover(context, running)
        self._tracker = Tracker(context, running)

    @classmethod
    async def enroll(
        cls,
        invitation: str,
        store: StorePath,
        *,
        passphrase: str | None = None,
        broker_url: BrokerUrls = None,
    ) -> Enrolled:
        """Redeem an invitation: make keys, join the directory, publish prekeys.

        After a crash the same call with the same store goes on where it stopped.

        Args:
            invitation: The line that the operator gave, or the link code of another device of
                yours: then this waits until that device approves.
            store: Where the device's store is made, mode 0600.
            passphrase: Encrypts the store; without one a key file is made beside it.
            broker_url: One address or several, in place of those in the invitation.

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
        broker_url: BrokerUrls = None,
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
            broker_url: One address or several, in place of those in the invitation.

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
        broker_url: BrokerUrls = None,
        online: bool = True,
    ) -> AsyncIterator[Self]:
        """Open a device: it connects, catches up and stays connected until the context is left.

        Works without network: what is sent is queued, what was received can be read.

        Args:
            store: The device's store.
            passphrase: What the store was made with.
            broker_url: One address or several, in place of those in the invitation; a pinned CA
                stays pinned.
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
            urls = urls_of(invitation, broker_url)
            login = Login(own.address, password_text(own.record.credential))
            transport = transport_of(opened, invitation, urls, login)
            context = open_context(opened, own)
            transport_urls = usable_urls(urls, pinned=invitation.ca_fingerprint is not None)
            if online:
                lease.acquire()
            engine = Engine(context, transport, lease)
            running = Running(context, engine, start=online)
            try:
                yield cls(context, running, transport_urls)
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

    @property
    def broker_urls(self) -> tuple[str, ...]:
        """The addresses that this process tries; see ``broker_url`` for the one that answered."""
        return self._urls

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

    async def broker_url(self) -> str | None:
        """Return the address that the last connection was made to; None before the first."""
        return await self._context.store.last_broker()

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
            await wait_for(ticket, min(CHECK_SECONDS, max(until - time.monotonic(), 0)))
        return self.connected


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


def _is_over(message: Message, now: int) -> bool:
    """Tell whether a received message is not to be shown any more."""
    return not message.outgoing and message.expires_at is not None and message.expires_at <= now
