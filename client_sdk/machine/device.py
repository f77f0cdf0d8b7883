"""This device: its keys, its login, and how far its enrolment has come."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Annotated, Final, NamedTuple

from pydantic import Field

from client_sdk.core.keys import Ed25519KeyPair, X25519KeyPair
from client_sdk.core.pqxdh import LocalDevice
from client_sdk.core.signatures import endorse, sign_device_list, signed_by
from client_sdk.wire.bundle import (
    NO_PREVIOUS_LIST,
    DeviceEntry,
    DeviceList,
    Superseded,
    addresses,
    list_mark,
)
from client_sdk.wire.codec import Codec, encode
from client_sdk.wire.content import AddressField, ListMark, StreamIdField
from client_sdk.wire.directory import DisplayName, NonceField
from client_sdk.wire.encoded_keys import AccountKey, IdentityKey, SigningKey
from client_sdk.wire.ids import DeviceAddress, DeviceNumber, StreamId, UserName, device_address
from client_sdk.wire.invitation import Invitation, Secret
from client_sdk.wire.limits import KIB

FIRST_DEVICE: Final = DeviceNumber(1)


class Stage(IntEnum):
    """How far an enrolment has come; each step is committed before the next begins."""

    KEYS_MADE = 1
    ENROLLED = 2
    READY = 3


class DeviceRecord(NamedTuple):
    """All that a store keeps of its own device."""

    stage: Annotated[int, Field(ge=Stage.KEYS_MADE, le=Stage.READY)]
    address: AddressField
    account_private: Secret | None
    """Only on managers: the devices that may sign the user's list."""
    signing_private: Secret
    identity_private: Secret
    device_list: DeviceList
    credential: Secret
    stream_id: StreamIdField
    invitation: Invitation
    nonce: NonceField
    reply_private: Annotated[bytes, Field(max_length=256)]
    role: DisplayName
    name: DisplayName
    next_account_private: Secret | None = None
    """Drawn to take the account key's place; it counts once a list under it is adopted."""

    def __repr__(self) -> str:
        """Name the address only: the rest is keys."""
        return f"DeviceRecord(address={self.address!r})"


DEVICE_RECORD: Final = Codec(DeviceRecord, 32 * KIB)


@dataclass(frozen=True, slots=True)
class FreshDevice:
    """The fresh keys and secrets of a new device."""

    account: Ed25519KeyPair = field(repr=False)
    signing: Ed25519KeyPair = field(repr=False)
    identity: X25519KeyPair = field(repr=False)
    credential: bytes = field(repr=False)
    stream_id: StreamId
    nonce: bytes
    reply_private: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class OwnDevice:
    """A device's record with its keys ready to use."""

    record: DeviceRecord
    signing: Ed25519KeyPair = field(repr=False)
    local: LocalDevice = field(repr=False)
    mark: ListMark

    @property
    def address(self) -> DeviceAddress:
        """This device's address."""
        return self.record.address

    @property
    def user(self) -> UserName:
        """The user whose device this is."""
        return self.record.device_list.user

    @property
    def others(self) -> tuple[DeviceAddress, ...]:
        """The other active devices of the same user."""
        return tuple(one for one in addresses(self.record.device_list) if one != self.address)

    @property
    def account(self) -> Ed25519KeyPair | None:
        """The account's keys, where this device is a manager."""
        private = self.record.account_private
        pair = None if private is None else Ed25519KeyPair.from_private_bytes(private)
        current = bytes(self.record.device_list.account_key)
        return pair if pair is not None and bytes(pair.public) == current else None


class ListPlace(NamedTuple):
    """Where a device list of one device stands in its account's chain."""

    number: DeviceNumber
    version: int
    previous_hash: bytes
    superseded: tuple[Superseded, ...] = ()


FIRST_PLACE: Final = ListPlace(FIRST_DEVICE, 1, NO_PREVIOUS_LIST)


def new_device(
    invitation: Invitation, fresh: FreshDevice, now: int, place: ListPlace = FIRST_PLACE
) -> DeviceRecord:
    """Return the record of a user's only device, with the device list that says so.

    Args:
        invitation: What the device was told.
        fresh: Newly drawn keys; the account key of a device that comes back is the old one.
        now: ms since 1970.
        place: Its number, and the list's place in the chain.
    """
    address = device_address(invitation.user, place.number)
    account_key = AccountKey(fresh.account.public)
    entry = DeviceEntry(
        number=place.number,
        signing_key=SigningKey(fresh.signing.public),
        identity_key=IdentityKey(fresh.identity.public),
        added_at=now,
        manager=True,
        endorsement=endorse(fresh.signing, address, account_key),
    )
    first = sign_device_list(
        fresh.account, invitation.user, place.version, place.previous_hash, (entry,)
    )
    listed = first._replace(superseded=place.superseded)
    return DeviceRecord(
        stage=Stage.KEYS_MADE,
        address=address,
        account_private=fresh.account.private_bytes(),
        signing_private=fresh.signing.private_bytes(),
        identity_private=fresh.identity.private_bytes(),
        device_list=signed_by(fresh.account, listed) if place.superseded else first,
        credential=fresh.credential,
        stream_id=fresh.stream_id,
        invitation=invitation,
        nonce=fresh.nonce,
        reply_private=fresh.reply_private,
        role="",
        name="",
    )


def load_device(record: DeviceRecord) -> OwnDevice:
    """Return a stored device with its keys parsed once."""
    signing = Ed25519KeyPair.from_private_bytes(record.signing_private)
    return OwnDevice(
        record=record,
        signing=signing,
        local=LocalDevice(
            address=record.address,
            account_key=record.device_list.account_key,
            signing_key=SigningKey(signing.public),
            identity=X25519KeyPair.from_private_bytes(record.identity_private),
            list_version=record.device_list.version,
        ),
        mark=list_mark(record.device_list),
    )


def with_list(record: DeviceRecord, device_list: DeviceList) -> DeviceRecord:
    """Return the record under a newer list of its user; a waiting account key may come in force."""
    following = record.next_account_private
    if following is not None:
        public = bytes(Ed25519KeyPair.from_private_bytes(following).public)
        if public == bytes(device_list.account_key):
            record = record._replace(account_private=following, next_account_private=None)
    return record._replace(device_list=device_list)


def encode_device(record: DeviceRecord) -> bytes:
    """Return the bytes that ``DEVICE_RECORD`` reads."""
    return encode(record)
