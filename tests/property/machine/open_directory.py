"""A key directory that answers at once: lists that follow, prekeys handed out once, counters."""

from dataclasses import dataclass, field

from client_sdk.core.device_lists import verify_follows
from client_sdk.delivery.errors import NotContactError, StaleListError
from client_sdk.wire.bundle import (
    DeviceList,
    KemPrekeyRecord,
    OneTimePrekeyRecord,
    PrekeyBundle,
    SignedPrekeyRecord,
    addresses,
)
from client_sdk.wire.directory import DeviceListReply, PrekeyCounts, PublishPrekeys, Relation
from client_sdk.wire.errors import ProtocolError
from client_sdk.wire.healing import StoreCounters
from client_sdk.wire.ids import DeviceAddress, UserName, user_of
from client_sdk.wire.linking import UpdateDevices


@dataclass
class Uploads:
    """What one device has published; no restored backup takes it back."""

    signed: SignedPrekeyRecord | None = None
    last_resort: KemPrekeyRecord | None = None
    one_time: list[OneTimePrekeyRecord] = field(default_factory=list)
    kem: list[KemPrekeyRecord] = field(default_factory=list)


class OpenDirectory:
    """Everybody is everybody's contact."""

    def __init__(self) -> None:
        self.lists: dict[UserName, list[DeviceList]] = {}
        self.uploads: dict[DeviceAddress, Uploads] = {}
        self.counters: dict[DeviceAddress, StoreCounters] = {}

    def newest(self, user: UserName) -> DeviceList:
        return self.lists[user][-1]

    def listed(self, address: DeviceAddress) -> bool:
        return address in addresses(self.newest(user_of(address)))

    def take(self, device_list: DeviceList) -> None:
        """Take the first list of a user, or the one that follows the newest."""
        known = self.lists.setdefault(device_list.user, [])
        if known:
            try:
                verify_follows(known[-1], device_list)
            except ProtocolError:
                raise StaleListError("the directory has a newer list") from None
        known.append(device_list)


@dataclass
class Line:
    """One device's line to the directory: what delivery asks of ``DirectoryClient``."""

    directory: OpenDirectory
    address: DeviceAddress
    attached: bool = True

    async def fetch_device_list(self, user: UserName, known: int = 0) -> DeviceListReply:
        self._check(self.address)
        *earlier, newest = self.directory.lists[user]
        between = tuple(one for one in earlier if known and one.version > known)
        return DeviceListReply(newest, Relation.CONTACT, "", "", earlier=between)

    async def fetch_bundle(self, address: DeviceAddress) -> PrekeyBundle:
        self._check(self.address)
        self._check(address)
        published = self.directory.uploads[address]
        assert published.signed is not None
        assert published.last_resort is not None
        return PrekeyBundle(
            address,
            self.directory.newest(user_of(address)),
            published.signed,
            published.one_time.pop() if published.one_time else None,
            published.kem.pop() if published.kem else published.last_resort,
        )

    async def publish_prekeys(self, batch: PublishPrekeys) -> PrekeyCounts:
        self._check(self.address)
        published = self.directory.uploads.setdefault(self.address, Uploads())
        published.signed = batch.signed_prekey or published.signed
        published.last_resort = batch.last_resort or published.last_resort
        published.one_time += batch.one_time_prekeys
        published.kem += batch.kem_prekeys
        return PrekeyCounts(len(published.one_time), len(published.kem))

    async def report_counters(self, mine: StoreCounters) -> StoreCounters | None:
        self._check(self.address)
        before = self.directory.counters.get(self.address)
        self.directory.counters[self.address] = max(before or mine, mine)
        return before

    async def update_devices(self, update: UpdateDevices) -> None:
        self._check(self.address)
        self.directory.take(update.device_list)

    def _check(self, address: DeviceAddress) -> None:
        if not self.directory.listed(address):
            raise NotContactError("a device that is not listed")
