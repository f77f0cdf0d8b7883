"""What devices and the key directory say to each other, and the exact signed bytes.

Every request is signed by the device, and every reply by the directory over the request's id and
nonce; what comes before, the enrolment, is in ``wire.enrollment``.
"""

from enum import IntEnum, StrEnum
from typing import Annotated, Final, NamedTuple

from pydantic import BeforeValidator, Field

from client_sdk.wire.bundle import (
    DeviceList,
    KemPrekeyRecord,
    OneTimePrekeyRecord,
    SignatureIn,
    SignedPrekeyRecord,
    UserField,
)
from client_sdk.wire.codec import Codec, encode
from client_sdk.wire.content import AddressField, Counter
from client_sdk.wire.ids import DeviceAddress, DeviceNumber, EventId, RequestId
from client_sdk.wire.invitation import DirectoryIdField, RandomIdField
from client_sdk.wire.limits import (
    MAX_DEVICE_NUMBER,
    MAX_DEVICES,
    MAX_DIRECTORY_BYTES,
    MAX_DISPLAY_NAME_CHARACTERS,
    MAX_EARLIER_LISTS,
    MAX_PREKEY_BATCH,
)

NONCE_BYTES: Final = 16
CONTACTS_PAGE: Final = 200

REQUEST_CONTEXT: Final = "RatchetMQ/1 directory request"
REPLY_CONTEXT: Final = "RatchetMQ/1 directory reply"
EVENT_CONTEXT: Final = "RatchetMQ/1 directory event"


class Action(IntEnum):
    """What a device asks for; the body's record stands behind each."""

    PUBLISH_PREKEYS = 1
    """``PublishPrekeys`` → ``PrekeyCounts``."""
    FETCH_DEVICE_LIST = 2
    """``FetchDeviceList`` → ``DeviceListReply``."""
    FETCH_BUNDLE = 3
    """``FetchBundle`` → ``PrekeyBundle`` (wire.bundle)."""
    CONTACTS = 4
    """``FetchContacts`` → ``ContactsReply``."""
    OPEN_LINK = 10
    """``OpenLink`` → ``LinkOpened`` (wire.linking); managers only, like the two below."""
    FETCH_JOIN = 11
    """``FetchJoin`` → ``JoinReply``."""
    UPDATE_DEVICES = 12
    """``UpdateDevices`` → nothing."""
    REPORT_COUNTERS = 16
    """``StoreCounters`` → ``CountersReply`` (wire.healing)."""


class Status(StrEnum):
    """How the directory answered."""

    OK = "ok"
    NOT_CONTACT = "not_contact"
    """No such user, or none that the policy lets this device reach: the same answer for both."""
    RATE_LIMITED = "rate_limited"
    STALE_COUNTER = "stale_counter"
    """The counter was used before; the body is ``CounterReply``."""
    BAD_REQUEST = "bad_request"
    REVOKED = "revoked"
    INVITATION_USED = "invitation_used"
    INVITATION_EXPIRED = "invitation_expired"
    LINK_WAITING = "link_waiting"
    """The new device's request is kept; a manager has not approved it yet."""
    STALE_LIST = "stale_list"
    """The device list does not follow the newest one; fetch that first."""
    UNAVAILABLE = "unavailable"
    """The directory could not read or write its store; try again."""


class Relation(StrEnum):
    """What the policy makes of two users."""

    CONTACT = "contact"
    STRANGER = "stranger"
    """May write, under an open policy; the recipient decides."""


class EventKind(IntEnum):
    """What the directory tells a device unasked."""

    PREKEYS_LOW = 1


StatusField = Annotated[Status, BeforeValidator(Status)]
RelationField = Annotated[Relation, BeforeValidator(Relation)]
NonceField = Annotated[bytes, Field(min_length=NONCE_BYTES, max_length=NONCE_BYTES)]
RequestIdField = Annotated[RequestId, RandomIdField]
EventIdField = Annotated[EventId, RandomIdField]
Body = Annotated[bytes, Field(max_length=MAX_DIRECTORY_BYTES)]
NumberField = Annotated[DeviceNumber, Field(ge=1, le=MAX_DEVICE_NUMBER)]
DisplayName = Annotated[str, Field(max_length=MAX_DISPLAY_NAME_CHARACTERS)]


class SignedRequest(NamedTuple):
    """One request of a device; ``counter`` grows with every new request of that device."""

    directory_id: DirectoryIdField
    device: AddressField
    request_id: RequestIdField
    counter: Counter
    nonce: NonceField
    action: Annotated[int, Field(ge=Action.PUBLISH_PREKEYS, le=Action.REPORT_COUNTERS)]
    body: Body
    signature: SignatureIn


class SignedReply(NamedTuple):
    """The directory's one answer to one request id."""

    directory_id: DirectoryIdField
    device: AddressField
    request_id: RequestIdField
    nonce: NonceField
    answered_at: Counter
    status: StatusField
    body: Body
    signature: SignatureIn


class DirectoryEvent(NamedTuple):
    """What the directory says unasked; retained until the device clears it."""

    directory_id: DirectoryIdField
    device: AddressField
    event_id: EventIdField
    created_at: Counter
    kind: Annotated[int, Field(ge=EventKind.PREKEYS_LOW, le=EventKind.PREKEYS_LOW)]
    signature: SignatureIn


class PublishPrekeys(NamedTuple):
    """A batch to add; a key id that is known already is left as it is, so batches may repeat."""

    signed_prekey: SignedPrekeyRecord | None
    last_resort: KemPrekeyRecord | None
    one_time_prekeys: Annotated[tuple[OneTimePrekeyRecord, ...], Field(max_length=MAX_PREKEY_BATCH)]
    kem_prekeys: Annotated[tuple[KemPrekeyRecord, ...], Field(max_length=MAX_PREKEY_BATCH)]


class PrekeyCounts(NamedTuple):
    """One-time prekeys that the directory still has of a device."""

    one_time_prekeys: Counter
    kem_prekeys: Counter


class FetchDeviceList(NamedTuple):
    """Ask for a user's newest device list, and for those since a known version."""

    user: UserField
    known_version: Counter = 0


class DeviceListReply(NamedTuple):
    """A user's newest device list and what the policy makes of the two.

    ``earlier`` has the lists between the asker's and this one, oldest first; with ``more`` this
    one is not the newest yet. ``absent`` names listed devices that are suspended, or were not
    seen for 30 days.
    """

    device_list: DeviceList
    relation: RelationField
    role: DisplayName
    name: DisplayName
    earlier: Annotated[tuple[DeviceList, ...], Field(max_length=MAX_EARLIER_LISTS)] = ()
    more: bool = False
    absent: Annotated[tuple[NumberField, ...], Field(max_length=MAX_DEVICES)] = ()


class FetchBundle(NamedTuple):
    """Ask for one bundle of one device; spends its one-time keys."""

    address: AddressField


class FetchContacts(NamedTuple):
    """Ask for contacts whose user name sorts behind ``after``."""

    after: Annotated[str, Field(max_length=32)]


class Contact(NamedTuple):
    """A user that the policy lets this one reach."""

    user: UserField
    role: DisplayName
    name: DisplayName


class ContactsReply(NamedTuple):
    """Up to ``CONTACTS_PAGE`` contacts in the order of their names; ``more`` behind the last."""

    contacts: Annotated[tuple[Contact, ...], Field(max_length=CONTACTS_PAGE)]
    more: bool


class CounterReply(NamedTuple):
    """The newest counter that the directory has accepted from a device."""

    last_counter: Counter


SIGNED_REQUEST: Final = Codec(SignedRequest, MAX_DIRECTORY_BYTES)
SIGNED_REPLY: Final = Codec(SignedReply, MAX_DIRECTORY_BYTES)
DIRECTORY_EVENT: Final = Codec(DirectoryEvent, MAX_DIRECTORY_BYTES)
PUBLISH_PREKEYS: Final = Codec(PublishPrekeys, MAX_DIRECTORY_BYTES)
PREKEY_COUNTS: Final = Codec(PrekeyCounts, MAX_DIRECTORY_BYTES)
FETCH_DEVICE_LIST: Final = Codec(FetchDeviceList, MAX_DIRECTORY_BYTES)
DEVICE_LIST_REPLY: Final = Codec(DeviceListReply, MAX_DIRECTORY_BYTES)
FETCH_BUNDLE: Final = Codec(FetchBundle, MAX_DIRECTORY_BYTES)
FETCH_CONTACTS: Final = Codec(FetchContacts, MAX_DIRECTORY_BYTES)
CONTACTS_REPLY: Final = Codec(ContactsReply, MAX_DIRECTORY_BYTES)
COUNTER_REPLY: Final = Codec(CounterReply, MAX_DIRECTORY_BYTES)


def request_bytes(request: SignedRequest) -> bytes:
    """Return what the device's signing key signs: all but the signature."""
    return encode((REQUEST_CONTEXT, *request[:-1]))


def reply_bytes(reply: SignedReply) -> bytes:
    """Return what the directory's key signs for a reply: all but the signature."""
    return encode((REPLY_CONTEXT, *reply[:-1]))


def event_bytes(event: DirectoryEvent) -> bytes:
    """Return what the directory's key signs for an event: all but the signature."""
    return encode((EVENT_CONTEXT, *event[:-1]))


def is_for(reply: SignedReply, request: SignedRequest, device: DeviceAddress) -> bool:
    """Tell whether a reply answers this very request of this device."""
    return (reply.directory_id, reply.device, reply.request_id, reply.nonce) == (
        request.directory_id,
        device,
        request.request_id,
        request.nonce,
    )
