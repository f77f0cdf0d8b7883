"""A key directory of a few lines: it signs what the real one signs, and forgets nothing."""

from dataclasses import dataclass, field

from client_sdk.machine.device import OwnDevice
from client_sdk.wire import topics
from client_sdk.wire.bundle import (
    DeviceList,
    KemPrekeyRecord,
    OneTimePrekeyRecord,
    PrekeyBundle,
    SignedPrekeyRecord,
    addresses,
)
from client_sdk.wire.codec import encode
from client_sdk.wire.directory import (
    FETCH_BUNDLE,
    FETCH_DEVICE_LIST,
    PUBLISH_PREKEYS,
    SIGNED_REQUEST,
    Action,
    Contact,
    ContactsReply,
    DeviceListReply,
    PrekeyCounts,
    Relation,
    SignedReply,
    SignedRequest,
    Status,
    reply_bytes,
)
from client_sdk.wire.encoded_keys import Signature
from client_sdk.wire.errors import ProtocolError
from client_sdk.wire.healing import STORE_COUNTERS, CountersReply, StoreCounters
from client_sdk.wire.ids import DeviceAddress, UserName, user_of
from tests.unit.machine.machine_parties import DIRECTORY_KEYS, NOW


@dataclass
class Published:
    """What one device has uploaded."""

    device_list: DeviceList
    signed: SignedPrekeyRecord | None = None
    last_resort: KemPrekeyRecord | None = None
    one_time: list[OneTimePrekeyRecord] = field(default_factory=list)
    kem: list[KemPrekeyRecord] = field(default_factory=list)


@dataclass
class SmallDirectory:
    """Devices by address; ``statuses`` has answers to give in place of the real ones."""

    devices: dict[DeviceAddress, Published] = field(default_factory=dict)
    relation: Relation = Relation.CONTACT
    refused: set[UserName] = field(default_factory=set)
    unlisted: set[UserName] = field(default_factory=set)
    counters: dict[DeviceAddress, StoreCounters] = field(default_factory=dict)
    unready: set[DeviceAddress] = field(default_factory=set)
    silent: bool = False
    statuses: list[tuple[Status, bytes]] = field(default_factory=list)
    requests: list[SignedRequest] = field(default_factory=list)
    newest: dict[UserName, DeviceList] = field(default_factory=dict)

    def register(self, own: OwnDevice) -> None:
        """Take a device list; what is not in it is no device of its user any more."""
        device_list = own.record.device_list
        self.newest[own.user] = device_list
        for known in [one for one in self.devices if user_of(one) == own.user]:
            if known in addresses(device_list):
                self.devices[known].device_list = device_list
            else:
                del self.devices[known]
        self.devices[own.address] = Published(device_list)

    def __call__(self, topic: str, payload: bytes) -> tuple[str, bytes] | None:
        try:
            topics.parse_request(topic)
        except ProtocolError:
            return None
        request = SIGNED_REQUEST.decode(payload)
        self.requests.append(request)
        if self.silent:
            return None
        status, body = self.statuses.pop(0) if self.statuses else self.act(request)
        return topics.reply(request.device, request.request_id), self.sign(request, status, body)

    def sign(self, request: SignedRequest, status: Status, body: bytes) -> bytes:
        unsigned = SignedReply(
            request.directory_id,
            request.device,
            request.request_id,
            request.nonce,
            NOW,
            status,
            body,
            Signature(bytes(64)),
        )
        return encode(unsigned._replace(signature=DIRECTORY_KEYS.sign(reply_bytes(unsigned))))

    def act(self, request: SignedRequest) -> tuple[Status, bytes]:
        if request.action == Action.PUBLISH_PREKEYS:
            return Status.OK, self.publish(request)
        if request.action == Action.REPORT_COUNTERS:
            before = self.counters.get(request.device)
            reported = STORE_COUNTERS.decode(request.body)
            self.counters[request.device] = max(before or reported, reported)
            return Status.OK, encode(CountersReply(before))
        if request.action == Action.CONTACTS:
            users = sorted({user_of(one) for one in self.devices} - self.unlisted)
            contacts = tuple(Contact(one, "", "") for one in users)
            return Status.OK, encode(ContactsReply(contacts, more=False))
        if request.action == Action.FETCH_DEVICE_LIST:
            user = FETCH_DEVICE_LIST.decode(request.body).user
            if user in self.refused or user not in self.newest:
                return Status.NOT_CONTACT, b""
            reply = DeviceListReply(self.newest[user], self.relation, "", "")
            return Status.OK, encode(reply)
        address = FETCH_BUNDLE.decode(request.body).address
        if user_of(address) in self.refused or address not in self.devices:
            return Status.NOT_CONTACT, b""
        if address in self.unready or self.devices[address].signed is None:
            return Status.UNAVAILABLE, b""
        return Status.OK, encode(self.bundle(address))

    def publish(self, request: SignedRequest) -> bytes:
        batch, published = PUBLISH_PREKEYS.decode(request.body), self.devices[request.device]
        published.signed = batch.signed_prekey or published.signed
        published.last_resort = batch.last_resort or published.last_resort
        published.one_time += batch.one_time_prekeys
        published.kem += batch.kem_prekeys
        return encode(PrekeyCounts(len(published.one_time), len(published.kem)))

    def bundle(self, address: DeviceAddress) -> PrekeyBundle:
        published = self.devices[address]
        kem = published.kem.pop() if published.kem else published.last_resort
        assert published.signed is not None
        assert kem is not None
        one_time = published.one_time.pop() if published.one_time else None
        return PrekeyBundle(address, published.device_list, published.signed, one_time, kem)
