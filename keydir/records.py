"""What the directory's store holds, as frozen records."""

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import NamedTuple

from client_sdk.wire.encoded_keys import SigningKey
from client_sdk.wire.ids import DeviceAddress, InvitationId, UserName


class PrekeyKind(IntEnum):
    """The four kinds of prekeys; ids are counted for each kind by itself."""

    SIGNED = 1
    LAST_RESORT = 2
    ONE_TIME = 3
    ONE_TIME_KEM = 4


class Purpose(StrEnum):
    """What an invitation is for."""

    NEW = "new"
    """A user who has no account yet."""
    RECOVER = "recover"
    """An account that exists: a new device under its own account key."""
    RESET = "reset"
    """An account that exists: a new device, under a new account key or its own."""


@dataclass(frozen=True, slots=True)
class InvitationRow:
    """One invitation; the hashes are set once it was redeemed."""

    invitation_id: InvitationId
    user: UserName
    role: str
    name: str
    expires_at: int
    device_list_hash: bytes | None = None
    credential_hash: bytes | None = field(default=None, repr=False)
    purpose: Purpose = Purpose.NEW


@dataclass(frozen=True, slots=True)
class LinkRow:
    """One link of a further device: who asked for it, and what has come of it.

    ``join`` is the new device's request as it came; ``address`` and ``grant`` are set once a
    manager has approved it.
    """

    invitation_id: InvitationId
    user: UserName
    expires_at: int
    join: bytes | None = field(default=None, repr=False)
    address: str = ""
    grant: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Account:
    """One user and the encoded newest device list."""

    user: UserName
    role: str
    name: str
    device_list: bytes = field(repr=False)
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class Device:
    """One device; times are in ms since 1970, None where it never happened."""

    address: DeviceAddress
    user: UserName
    signing_key: SigningKey
    last_counter: int = 0
    invitation_id: InvitationId | None = None
    published_at: int | None = None
    low_event_at: int | None = None
    revoked: bool = False


class Member(NamedTuple):
    """One device and the account that it belongs to."""

    device: Device
    account: Account


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply that was given, kept for repetitions of its request."""

    request_hash: bytes
    reply: bytes


@dataclass(frozen=True, slots=True)
class Prekey:
    """One published prekey: its id, when it was signed, and its encoded record."""

    id: int
    signed_at: int
    record: bytes


class PoolCounts(NamedTuple):
    """One-time prekeys left of one device."""

    one_time: int
    one_time_kem: int


class Supply(NamedTuple):
    """What a bundle of one device can be made of."""

    signed: Prekey | None
    last_resort: Prekey | None
    left: PoolCounts


class Token(NamedTuple):
    """One token that is taken of a shared bucket; times in ms since 1970."""

    key: str
    now: int
    step: int
    """How much later the bucket is full for it."""
    most: int
    """When the bucket is full after its last token was taken now."""


class ListedUser(NamedTuple):
    """One row of a contact list."""

    user: UserName
    role: str
    name: str
