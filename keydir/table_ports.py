"""The parts of one transaction: what the directory needs of each kind of record."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from client_sdk.wire.healing import StoreCounters
from client_sdk.wire.ids import DeviceAddress, InvitationId, RequestId, UserName
from keydir.records import (
    Account,
    Answer,
    Device,
    InvitationRow,
    LinkRow,
    ListedUser,
    Member,
    PoolCounts,
    Prekey,
    PrekeyKind,
    Supply,
    Token,
)


class Accounts(Protocol):
    """Users, their devices and who was revoked."""

    def account(self, user: UserName) -> Account | None:
        """Return one user, revoked or not."""
        ...

    def held_account(self, user: UserName) -> Account | None:
        """Return one user as ``account``, and keep others from it until the end."""
        ...

    def add(self, account: Account, device: Device) -> None:
        """Add a user with the first device."""
        ...

    def replace_devices(self, account: Account, device: Device, version: int, now: int) -> None:
        """Give a user one new device in place of all earlier ones, which are revoked.

        ``version`` is that of the account's device list; 1 begins a new chain of lists.
        """
        ...

    def add_device(self, device: Device) -> None:
        """Add a device to a user who is there."""
        ...

    def put_list(self, user: UserName, version: int, device_list: bytes) -> None:
        """Make a device list the newest of a user; earlier ones are kept."""
        ...

    def lists_after(self, user: UserName, version: int, limit: int) -> list[bytes]:
        """Return up to ``limit`` device lists of a user after a version, oldest first."""
        ...

    def devices(self, user: UserName) -> list[Device]:
        """Return all devices that a user ever had."""
        ...

    def device(self, address: DeviceAddress) -> Device | None:
        """Return one device, revoked or not; a device of a revoked user is revoked."""
        ...

    def member(self, address: DeviceAddress) -> Member | None:
        """Return one device with its account, revoked or not."""
        ...

    def held_member(self, address: DeviceAddress) -> Member | None:
        """Return one device as ``member``, and keep others from the device until the end."""
        ...

    def accept(self, address: DeviceAddress, counter: int) -> None:
        """Record the newest counter of a device, and that its invitation is used up."""
        ...

    def note_upload(self, address: DeviceAddress, now: int) -> None:
        """Record that a device has just published prekeys."""
        ...

    def note_low_event(self, address: DeviceAddress, now: int) -> None:
        """Record that a device has just been told of a low pool."""
        ...

    def listed(self, roles: Sequence[str], after: str, limit: int) -> list[ListedUser]:
        """Return up to ``limit`` active users of ``roles`` whose names sort behind ``after``."""
        ...

    def roles_in_use(self) -> frozenset[str]:
        """Return the roles of all users and open invitations."""
        ...

    def revoke(self, user: UserName, address: DeviceAddress | None, now: int) -> bool:
        """Mark a user, or only one device, as revoked; False where there is none such."""
        ...

    def addresses(self, user: UserName) -> list[DeviceAddress]:
        """Return all devices that a user ever had."""
        ...

    def unswept(self, before: int) -> list[DeviceAddress]:
        """Return revoked devices never swept, or last swept before ``before``."""
        ...

    def note_sweep(self, address: DeviceAddress, now: int) -> None:
        """Record that nothing of a revoked device is left on the broker."""
        ...


class Prekeys(Protocol):
    """Published prekeys; a one-time key leaves exactly once."""

    def keep_freshest(self, address: DeviceAddress, kind: PrekeyKind, prekey: Prekey) -> None:
        """Replace a signed or last-resort prekey, unless the one kept was signed later."""
        ...

    def supply(self, address: DeviceAddress) -> Supply:
        """Return what a bundle can be made of."""
        ...

    def held_supply(self, address: DeviceAddress) -> Supply:
        """Return the same, and keep others who hold it from it until the end."""
        ...

    def add_one_time(
        self, address: DeviceAddress, kind: PrekeyKind, prekeys: Sequence[Prekey], room: int
    ) -> None:
        """Add up to ``room`` one-time prekeys; an id that was ever used is left as it is."""
        ...

    def take_one_time(
        self, address: DeviceAddress, kinds: Sequence[PrekeyKind]
    ) -> Mapping[PrekeyKind, Prekey]:
        """Remove one one-time prekey of each kind for ever and return those that there were."""
        ...

    def counts(self, address: DeviceAddress) -> PoolCounts:
        """Return how many one-time prekeys of each kind are left."""
        ...


class Counters(Protocol):
    """What devices report of their stores."""

    def find(self, address: DeviceAddress) -> StoreCounters | None:
        """Return the highest report of a device."""
        ...

    def keep(self, address: DeviceAddress, counters: StoreCounters) -> None:
        """Add or replace a device's report."""
        ...


class Answers(Protocol):
    """Replies kept for repetitions of their requests."""

    def find(self, address: DeviceAddress, request_id: RequestId, since: int) -> Answer | None:
        """Return the reply that was given under a request id of a device, not before ``since``."""
        ...

    def keep(self, address: DeviceAddress, request_id: RequestId, answer: Answer, now: int) -> None:
        """Keep a reply given at ``now``, in place of an old one."""
        ...

    def forget_before(self, time: int) -> None:
        """Forget every reply given before ``time``."""
        ...


class Buckets(Protocol):
    """Token buckets that all replicas share."""

    def find(self, keys: Sequence[str]) -> Mapping[str, int]:
        """Return when each bucket will be full, in ms since 1970; full ones may be missing."""
        ...

    def take(self, tokens: Sequence[Token]) -> None:
        """Take tokens with the commit; a bucket emptied meanwhile breaks the transaction off."""
        ...

    def lower(self, key: str, full_at: int) -> None:
        """Have a bucket be full at this time, and not later."""
        ...

    def forget_full(self, now: int) -> None:
        """Forget every bucket that is full again."""
        ...


class Replicas(Protocol):
    """Who answers on one broker: each counts on while it does."""

    def beats(self) -> Mapping[str, int]:
        """Return the newest beat of every replica that did not leave."""
        ...

    def beat(self, name: str, number: int) -> None:
        """Record that a replica answers requests."""
        ...

    def leave(self, name: str) -> None:
        """Forget a replica."""
        ...


class Invitations(Protocol):
    """Invitations that wait or were redeemed a moment ago."""

    def find(self, invitation_id: InvitationId) -> InvitationRow | None:
        """Return one invitation, and keep others from it until the end."""
        ...

    def replace(self, invitation: InvitationRow) -> None:
        """Add an invitation; every other one of the same user and its login are gone."""
        ...

    def redeem(
        self, invitation_id: InvitationId, device_list_hash: bytes, credential_hash: bytes
    ) -> None:
        """Record with which keys an invitation was redeemed."""
        ...

    def end(self, invitation_id: InvitationId) -> None:
        """Remove an invitation and its one-time login."""
        ...

    def withdraw(self, user: UserName) -> bool:
        """Remove all invitations of a user and their logins; False where there is none."""
        ...


class Links(Protocol):
    """Links of further devices that wait or were completed not long ago."""

    def find(self, invitation_id: InvitationId) -> LinkRow | None:
        """Return one link, and keep others from it until the end."""
        ...

    def replace(self, link: LinkRow) -> None:
        """Add a link; every other one of the same user and its login are gone."""
        ...

    def join(self, invitation_id: InvitationId, join: bytes) -> None:
        """Record what the new device asked for."""
        ...

    def approve(self, invitation_id: InvitationId, address: DeviceAddress, grant: bytes) -> None:
        """Record what the new device became."""
        ...

    def withdraw(self, user: UserName) -> None:
        """Remove all links of a user and their logins."""
        ...


class Logins(Protocol):
    """MQTT logins as the broker checks them."""

    def put(self, login: str, secret_hash: bytes, expires_at: int | None) -> None:
        """Add or replace a login; None never expires."""
        ...

    def secret_hash(self, login: str) -> bytes | None:
        """Return the SHA-256 of a login's password, also of one that has expired."""
        ...

    def remove(self, login: str) -> None:
        """Remove a login, where there is one."""
        ...


class Settings(Protocol):
    """A few named texts."""

    def get(self, name: str) -> str | None:
        """Return a text."""
        ...

    def put(self, name: str, value: str) -> None:
        """Add or replace a text."""
        ...
