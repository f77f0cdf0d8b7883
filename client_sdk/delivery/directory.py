"""Asking the key directory: signed requests out, verified replies back."""

import asyncio
import logging
from itertools import pairwise
from typing import Final

from client_sdk import entropy
from client_sdk.core.keys import verify
from client_sdk.delivery.errors import (
    DirectoryRefusedError,
    DirectoryUnavailableError,
    LinkExpiredError,
    NotContactError,
    RateLimitedError,
    RefusedReplyError,
    StaleListError,
)
from client_sdk.machine.device import OwnDevice
from client_sdk.stores.ports import ClientStore
from client_sdk.transport.errors import TransportError
from client_sdk.transport.ports import Connection, Incoming
from client_sdk.wire import topics
from client_sdk.wire.bundle import PREKEY_BUNDLE, PrekeyBundle
from client_sdk.wire.codec import encode
from client_sdk.wire.directory import (
    CONTACTS_REPLY,
    COUNTER_REPLY,
    DEVICE_LIST_REPLY,
    DIRECTORY_EVENT,
    NONCE_BYTES,
    PREKEY_COUNTS,
    SIGNED_REPLY,
    Action,
    Contact,
    DeviceListReply,
    DirectoryEvent,
    FetchBundle,
    FetchContacts,
    FetchDeviceList,
    PrekeyCounts,
    PublishPrekeys,
    SignedReply,
    SignedRequest,
    Status,
    event_bytes,
    is_for,
    reply_bytes,
    request_bytes,
)
from client_sdk.wire.encoded_keys import Signature
from client_sdk.wire.errors import ProtocolError
from client_sdk.wire.healing import COUNTERS_REPLY, StoreCounters
from client_sdk.wire.ids import DeviceAddress, RequestId, UserName
from client_sdk.wire.linking import (
    JOIN_REPLY,
    LINK_OPENED,
    FetchJoin,
    JoinReply,
    LinkOpened,
    OpenLink,
    UpdateDevices,
)

REPEAT_SECONDS: Final = 2.0
REPEATS: Final = 5
"""The same request is published this often before the directory counts as away."""

MAX_CONTACT_PAGES: Final = 100
"""Pages of contacts that are asked for: 20,000 users, and fewer requests than a device may make."""

MAX_LAST_COUNTER: Final = 2**62
"""The newest counter that the directory may name: behind it there is always a next one."""

REQUEST_COUNTER: Final = "directory request"

_logger = logging.getLogger(__name__)


class DirectoryClient:
    """One device's requests; usable while a connection is there."""

    def __init__(self, store: ClientStore, own: OwnDevice) -> None:
        """Keep what requests are signed with and counted in."""
        self._store = store
        self._own = own
        self._connection: Connection | None = None
        self._waiting: dict[RequestId, tuple[SignedRequest, asyncio.Future[SignedReply]]] = {}

    def attach(self, connection: Connection | None) -> None:
        """Use this connection from now on; None where it ended."""
        self._connection = connection

    @property
    def attached(self) -> bool:
        """Whether there is a connection to ask over."""
        return self._connection is not None

    async def fetch_device_list(self, user: UserName, known_version: int = 0) -> DeviceListReply:
        """Return a user's newest device list, its signatures not yet verified.

        Args:
            user: Whose list.
            known_version: The list that is known; those between it and the newest come along.

        Raises:
            NotContactError: No such user, or none that the policy allows.
            RateLimitedError: Asked too often.
            DirectoryUnavailableError: No answer.
        """
        reply = await self._ask(
            Action.FETCH_DEVICE_LIST, encode(FetchDeviceList(user, known_version))
        )
        return DEVICE_LIST_REPLY.decode(reply.body)

    async def fetch_bundle(self, address: DeviceAddress) -> PrekeyBundle:
        """Return one bundle of one device, its signatures not yet verified; raises as above."""
        reply = await self._ask(Action.FETCH_BUNDLE, encode(FetchBundle(address)))
        bundle = PREKEY_BUNDLE.decode(reply.body)
        if bundle.address != address:
            raise RefusedReplyError("the directory answered with another device's bundle")
        return bundle

    async def publish_prekeys(self, batch: PublishPrekeys) -> PrekeyCounts:
        """Upload a batch; return how many one-time prekeys the directory has now."""
        reply = await self._ask(Action.PUBLISH_PREKEYS, encode(batch))
        return PREKEY_COUNTS.decode(reply.body)

    async def open_link(self, body: OpenLink) -> LinkOpened:
        """Ask for a one-time login for another device of one's own account.

        Raises:
            DirectoryRefusedError: This device is no manager.
            DirectoryUnavailableError: No answer.
        """
        return LINK_OPENED.decode((await self._ask(Action.OPEN_LINK, encode(body))).body)

    async def fetch_join(self, body: FetchJoin) -> JoinReply:
        """Return what has come of a link.

        Raises:
            LinkExpiredError: The directory does not know it any more.
            DirectoryUnavailableError: No answer.
        """
        return JOIN_REPLY.decode((await self._ask(Action.FETCH_JOIN, encode(body))).body)

    async def update_devices(self, body: UpdateDevices) -> None:
        """Upload the next list of one's own devices.

        Raises:
            StaleListError: It does not follow the newest one.
            DirectoryRefusedError: The directory does not take it.
            DirectoryUnavailableError: No answer; it may have been taken.
        """
        await self._ask(Action.UPDATE_DEVICES, encode(body))

    async def fetch_contacts(self) -> list[Contact]:
        """Return all contacts that the policy gives this user, by name.

        Raises:
            RefusedReplyError: They are not in order, or more than ``MAX_CONTACT_PAGES``.
            RateLimitedError: Asked too often.
            DirectoryUnavailableError: No answer.
        """
        found: list[Contact] = []
        for _ in range(MAX_CONTACT_PAGES):
            after = found[-1].user if found else ""
            reply = await self._ask(Action.CONTACTS, encode(FetchContacts(after)))
            page = CONTACTS_REPLY.decode(reply.body)
            names = [after, *(one.user for one in page.contacts)]
            if any(one >= following for one, following in pairwise(names)):
                raise RefusedReplyError("contacts that are not in order; the earlier ones are kept")
            found.extend(page.contacts)
            if not page.more or not page.contacts:
                return found
        raise RefusedReplyError("more contacts than a device takes; the earlier ones are kept")

    async def report_counters(self, counters: StoreCounters) -> StoreCounters | None:
        """Report how often the store was opened and written; return what was there before."""
        reply = await self._ask(Action.REPORT_COUNTERS, encode(counters))
        return COUNTERS_REPLY.decode(reply.body).before

    def receive(self, incoming: Incoming) -> None:
        """Take a message from the reply topic; one that no request waits for is dropped."""
        try:
            request_id = topics.parse_reply(incoming.topic)
            request, future = self._waiting[request_id]
            reply = SIGNED_REPLY.decode(incoming.payload)
            if not is_for(reply, request, self._own.address):
                raise RefusedReplyError("a reply to another request")
            verify(self._directory_key, reply_bytes(reply), reply.signature)
        except KeyError:
            return
        except ProtocolError as error:
            _logger.warning("a directory reply was dropped: %s", error.code)
            return
        if not future.done():
            future.set_result(reply)

    def verified_event(self, incoming: Incoming) -> DirectoryEvent | None:
        """Return an event that the directory signed for this device, or None."""
        try:
            event_id = topics.parse_event(incoming.topic)
            event = DIRECTORY_EVENT.decode(incoming.payload)
            verify(self._directory_key, event_bytes(event), event.signature)
        except ProtocolError as error:
            _logger.warning("a directory event was dropped: %s", error.code)
            return None
        mine = (self._own.record.invitation.directory_id, self._own.address, event_id)
        return event if (event.directory_id, event.device, event.event_id) == mine else None

    @property
    def _directory_key(self) -> bytes:
        return self._own.record.invitation.directory_key

    async def _ask(self, action: Action, body: bytes) -> SignedReply:
        reply = await self._exchange(action, body)
        if reply.status is Status.STALE_COUNTER:
            last = COUNTER_REPLY.decode(reply.body).last_counter
            if last > MAX_LAST_COUNTER:
                raise RefusedReplyError("a counter that no device reaches; ours was left as it is")
            await self._store.raise_counter(REQUEST_COUNTER, last)
            reply = await self._exchange(action, body)
        if reply.status is Status.OK:
            return reply
        if reply.status is Status.NOT_CONTACT:
            raise NotContactError("no such contact: the directory knows none that you may reach")
        if reply.status is Status.RATE_LIMITED:
            raise RateLimitedError("the directory was asked too often; it is tried again later")
        if reply.status is Status.UNAVAILABLE:
            raise DirectoryUnavailableError("the directory cannot use its store; try again later")
        if reply.status is Status.STALE_LIST:
            raise StaleListError("the device list does not follow the directory's newest one")
        if reply.status is Status.INVITATION_EXPIRED:
            raise LinkExpiredError(
                "the directory does not know this link: its time is over, or another took its "
                "place; nothing was changed; make a new code"
            )
        raise DirectoryRefusedError(f"the directory refused a request: {reply.status}")

    async def _exchange(self, action: Action, body: bytes) -> SignedReply:
        unsigned = SignedRequest(
            directory_id=self._own.record.invitation.directory_id,
            device=self._own.address,
            request_id=RequestId(entropy.draw_id()),
            counter=await self._store.reserve(REQUEST_COUNTER, 1),
            nonce=entropy.draw_bytes(NONCE_BYTES),
            action=action,
            body=body,
            signature=Signature(b""),
        )
        request = unsigned._replace(signature=self._own.signing.sign(request_bytes(unsigned)))
        future: asyncio.Future[SignedReply] = asyncio.get_running_loop().create_future()
        self._waiting[request.request_id] = (request, future)
        try:
            return await self._publish_until_answered(request, future)
        finally:
            del self._waiting[request.request_id]

    async def _publish_until_answered(
        self, request: SignedRequest, future: "asyncio.Future[SignedReply]"
    ) -> SignedReply:
        topic, payload = topics.request(request.device, request.request_id), encode(request)
        for _ in range(REPEATS):
            if self._connection is None:
                break
            try:
                async with asyncio.timeout(REPEAT_SECONDS):
                    await self._connection.publish(topic, payload)
                    return await asyncio.shield(future)
            except TimeoutError:
                continue
            except TransportError:
                break
        raise DirectoryUnavailableError("the key directory does not answer; try again later")
