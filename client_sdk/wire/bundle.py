"""Device lists and prekey bundles, and the exact bytes that each signature covers.

Every signed blob is an array that begins with its own context string and the signed key's type
byte and holds its owner, so that none is valid in another place.
"""

import hashlib
from typing import Annotated, Final, NamedTuple

from pydantic import Field

from client_sdk.wire.codec import Codec, encode
from client_sdk.wire.content import LIST_HASH_BYTES, AddressField, Counter, ListMark
from client_sdk.wire.encoded_keys import (
    ED25519_TYPE,
    ML_KEM_1024_TYPE,
    X25519_TYPE,
    AccountKey,
    Ed25519Field,
    IdentityKey,
    KemField,
    KemPrekey,
    OneTimePrekey,
    Signature,
    SignatureField,
    SignedPrekey,
    SigningKey,
    X25519Field,
)
from client_sdk.wire.envelope import KeyId, Version
from client_sdk.wire.ids import DeviceAddress, DeviceNumber, UserName, device_address
from client_sdk.wire.limits import (
    MAX_DEVICE_NUMBER,
    MAX_DEVICES,
    MAX_DIRECTORY_BYTES,
    MAX_SUPERSEDED,
)

HASH_BYTES: Final = 32
NO_PREVIOUS_LIST: Final = b"\x00" * HASH_BYTES
"""The previous hash of a user's first device list."""

DAY_MS: Final = 24 * 60 * 60 * 1000
MAX_PREKEY_AGE_MS: Final = 31 * DAY_MS
"""A signed or last-resort prekey older than this is refused: its private half may be gone."""

MAX_CLOCK_SKEW_MS: Final = 2 * DAY_MS
"""How far two honest clocks may differ."""

DEVICE_LIST_CONTEXT: Final = "RatchetMQ/1 device list"
ACCOUNT_ENDORSEMENT_CONTEXT: Final = "RatchetMQ/1 account endorsement"
SIGNED_PREKEY_CONTEXT: Final = "RatchetMQ/1 signed prekey"
ONE_TIME_KEM_PREKEY_CONTEXT: Final = "RatchetMQ/1 one-time KEM prekey"
SUCCESSION_CONTEXT: Final = "RatchetMQ/1 account succession"
LAST_RESORT_KEM_PREKEY_CONTEXT: Final = "RatchetMQ/1 last-resort KEM prekey"

UserField = Annotated[UserName, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,31}$")]
SignatureIn = Annotated[Signature, SignatureField]


class DeviceEntry(NamedTuple):
    """One active device in a list.

    ``endorsement`` is the device's signature of the account key, or of one that it superseded.
    """

    number: Annotated[DeviceNumber, Field(ge=1, le=MAX_DEVICE_NUMBER)]
    signing_key: Annotated[SigningKey, Ed25519Field]
    identity_key: Annotated[IdentityKey, X25519Field]
    added_at: Counter
    manager: bool
    endorsement: SignatureIn


class Superseded(NamedTuple):
    """An account key that was put aside, and its signature of the key that came after it."""

    account_key: Annotated[AccountKey, Ed25519Field]
    signature: SignatureIn


class DeviceList(NamedTuple):
    """A user's active devices, signed by the account key; each version names the one before.

    ``next_number`` is the lowest device number that was never used; ``superseded`` has the account
    keys before this one, oldest first.
    """

    user: UserField
    version: Version
    previous_hash: Annotated[bytes, Field(min_length=HASH_BYTES, max_length=HASH_BYTES)]
    account_key: Annotated[AccountKey, Ed25519Field]
    devices: Annotated[tuple[DeviceEntry, ...], Field(max_length=MAX_DEVICES)]
    next_number: Annotated[int, Field(ge=1, le=MAX_DEVICE_NUMBER + 1)]
    superseded: Annotated[tuple[Superseded, ...], Field(max_length=MAX_SUPERSEDED)]
    signature: SignatureIn


class SignedPrekeyRecord(NamedTuple):
    """A medium-term X25519 prekey with its signing time in ms since 1970."""

    id: KeyId
    key: Annotated[SignedPrekey, X25519Field]
    signed_at: Counter
    signature: SignatureIn


class OneTimePrekeyRecord(NamedTuple):
    """A one-time X25519 prekey; unsigned, as in X3DH: a false one only makes the message fail."""

    id: KeyId
    key: Annotated[OneTimePrekey, X25519Field]


class KemPrekeyRecord(NamedTuple):
    """An ML-KEM-1024 prekey, one-time or last-resort, with its signing time in ms since 1970."""

    id: KeyId
    key: Annotated[KemPrekey, KemField]
    signed_at: Counter
    last_resort: bool
    signature: SignatureIn


class PrekeyBundle(NamedTuple):
    """What one initiator needs to start one session with one device."""

    address: AddressField
    device_list: DeviceList
    signed_prekey: SignedPrekeyRecord
    one_time_prekey: OneTimePrekeyRecord | None
    kem_prekey: KemPrekeyRecord


DEVICE_LIST: Final = Codec(DeviceList, MAX_DIRECTORY_BYTES)
PREKEY_BUNDLE: Final = Codec(PrekeyBundle, MAX_DIRECTORY_BYTES)


def device_list_bytes(device_list: DeviceList) -> bytes:
    """Return what the account key signs: every field of the list but the signature."""
    return encode((DEVICE_LIST_CONTEXT, ED25519_TYPE, *device_list[:-1]))


def succession_bytes(user: UserName, successor: AccountKey) -> bytes:
    """Return what an account key signs to name the one that takes its place."""
    return encode((SUCCESSION_CONTEXT, ED25519_TYPE, user, successor))


def endorsement_bytes(address: DeviceAddress, account_key: AccountKey) -> bytes:
    """Return what a device signs to say whose account it belongs to."""
    return encode((ACCOUNT_ENDORSEMENT_CONTEXT, ED25519_TYPE, address, account_key))


def signed_prekey_bytes(address: DeviceAddress, record: SignedPrekeyRecord) -> bytes:
    """Return what the device's signing key signs for a signed prekey."""
    return encode((SIGNED_PREKEY_CONTEXT, X25519_TYPE, address, *record[:-1]))


def kem_prekey_bytes(address: DeviceAddress, record: KemPrekeyRecord) -> bytes:
    """Return what the device's signing key signs for a KEM prekey; the kinds never mix."""
    context = LAST_RESORT_KEM_PREKEY_CONTEXT if record.last_resort else ONE_TIME_KEM_PREKEY_CONTEXT
    return encode((context, ML_KEM_1024_TYPE, address, *record[:-1]))


def device_list_hash(device_list: DeviceList) -> bytes:
    """Return the 32-byte SHA-256 of a whole list; the next version names it."""
    return hashlib.sha256(encode(device_list)).digest()


def list_mark(device_list: DeviceList) -> ListMark:
    """Return version and half hash of a list, as sealed content carries them."""
    return ListMark(device_list.version, device_list_hash(device_list)[:LIST_HASH_BYTES])


def device_entry(device_list: DeviceList, number: DeviceNumber) -> DeviceEntry | None:
    """Return one device of a list, or None where it is not active in it."""
    return next((entry for entry in device_list.devices if entry.number == number), None)


def addresses(device_list: DeviceList) -> tuple[DeviceAddress, ...]:
    """Return the addresses of all active devices of a list."""
    return tuple(device_address(device_list.user, entry.number) for entry in device_list.devices)
