"""Who signed what: device lists, endorsements and prekeys, over the bytes of ``wire.bundle``."""

from functools import lru_cache
from typing import Final, NamedTuple

from client_sdk.core.errors import InvalidBundleError, InvalidSignatureError, StaleBundleError
from client_sdk.core.keys import (
    Ed25519KeyPair,
    parse_ed25519,
    parse_ml_kem_1024,
    parse_x25519,
    verify,
)
from client_sdk.wire.bundle import (
    MAX_CLOCK_SKEW_MS,
    MAX_PREKEY_AGE_MS,
    DeviceEntry,
    DeviceList,
    KemPrekeyRecord,
    PrekeyBundle,
    SignedPrekeyRecord,
    device_list_bytes,
    endorsement_bytes,
    kem_prekey_bytes,
    signed_prekey_bytes,
    succession_bytes,
)
from client_sdk.wire.encoded_keys import (
    SIGNATURE_BYTES,
    AccountKey,
    KemPrekey,
    Signature,
    SignedPrekey,
    SigningKey,
)
from client_sdk.wire.ids import DeviceAddress, UserName, device_address

CACHED_LISTS: Final = 64
"""Device lists that held: one is checked when it comes, and again with each bundle of its devices.
Lists are compared whole; one that did not hold is checked anew each time."""

_UNSIGNED: Final = Signature(bytes(SIGNATURE_BYTES))


class PrekeyFacts(NamedTuple):
    """What a prekey's signature will cover beside its key."""

    id: int
    signed_at: int


def sign_device_list(
    account: Ed25519KeyPair,
    user: UserName,
    version: int,
    previous_hash: bytes,
    devices: tuple[DeviceEntry, ...],
) -> DeviceList:
    """Return a device list signed by the account key.

    Args:
        account: The user's account key.
        user: Whose list it is.
        version: One more than the list before; 1 for the first.
        previous_hash: 32 bytes, ``device_list_hash`` of the list before, or
            ``NO_PREVIOUS_LIST``.
        devices: All active devices, endorsed.
    """
    number = max((entry.number for entry in devices), default=0) + 1
    key = AccountKey(account.public)
    unsigned = DeviceList(user, version, previous_hash, key, devices, number, (), _UNSIGNED)
    return signed_by(account, unsigned)


def signed_by(account: Ed25519KeyPair, unsigned: DeviceList) -> DeviceList:
    """Return a list with the signature of the account key."""
    return unsigned._replace(signature=account.sign(device_list_bytes(unsigned)))


def endorse(signing: Ed25519KeyPair, address: DeviceAddress, account_key: AccountKey) -> Signature:
    """Return the signature by which a device says whose account it belongs to."""
    return signing.sign(endorsement_bytes(address, account_key))


def sign_signed_prekey(
    signing: Ed25519KeyPair, address: DeviceAddress, facts: PrekeyFacts, key: SignedPrekey
) -> SignedPrekeyRecord:
    """Return a medium-term prekey signed by its device; ``facts.signed_at`` in ms since 1970."""
    unsigned = SignedPrekeyRecord(facts.id, key, facts.signed_at, _UNSIGNED)
    return unsigned._replace(signature=signing.sign(signed_prekey_bytes(address, unsigned)))


def sign_kem_prekey(
    signing: Ed25519KeyPair,
    address: DeviceAddress,
    facts: PrekeyFacts,
    key: KemPrekey,
    *,
    last_resort: bool,
) -> KemPrekeyRecord:
    """Return a KEM prekey signed by its device; ``facts.signed_at`` in ms since 1970."""
    unsigned = KemPrekeyRecord(facts.id, key, facts.signed_at, last_resort, _UNSIGNED)
    return unsigned._replace(signature=signing.sign(kem_prekey_bytes(address, unsigned)))


@lru_cache(maxsize=CACHED_LISTS)
def verify_device_list(device_list: DeviceList) -> None:
    """Return only if the account key in the list signed it and no device stands in it twice.

    Each superseded account key has signed the one after it, and none of them stands for twice.

    Whether that account key is the expected one, and the version new, is the caller's to ask.

    Raises:
        InvalidSignatureError: The signature does not hold.
        InvalidKeyError: The account key or a device's key is not a good key.
        InvalidBundleError: A number or a key occurs twice.
    """
    verify(device_list.account_key, device_list_bytes(device_list), device_list.signature)
    _verify_succession(device_list)
    devices = device_list.devices
    if any(entry.number >= device_list.next_number for entry in devices):
        raise InvalidBundleError("the device list uses a number that is still free; it was dropped")
    for entry in devices:
        parse_ed25519(entry.signing_key)
        parse_x25519(entry.identity_key)
    for field in ("number", "signing_key", "identity_key"):
        if len({getattr(entry, field) for entry in devices}) != len(devices):
            raise InvalidBundleError(f"the device list holds one {field} twice; it was dropped")


@lru_cache(maxsize=CACHED_LISTS)
def verify_endorsements(device_list: DeviceList) -> None:
    """Return only if every device of the list has signed an account key of this user.

    A device that joined under an account key which was superseded since endorses that one.

    Raises:
        InvalidSignatureError: One has not: nobody can claim another's device.
        InvalidKeyError: A signing key is not a good key.
    """
    keys = account_keys(device_list)
    for entry in device_list.devices:
        address = device_address(device_list.user, entry.number)
        for key in keys[:-1]:
            if _endorses(entry, endorsement_bytes(address, key)):
                break
        else:
            verify(entry.signing_key, endorsement_bytes(address, keys[-1]), entry.endorsement)


def account_keys(device_list: DeviceList) -> tuple[AccountKey, ...]:
    """Return the list's account key, then those before it, newest first."""
    earlier = tuple(one.account_key for one in reversed(device_list.superseded))
    return (device_list.account_key, *earlier)


def _endorses(entry: DeviceEntry, data: bytes) -> bool:
    try:
        verify(entry.signing_key, data, entry.endorsement)
    except InvalidSignatureError:
        return False
    return True


def _verify_succession(device_list: DeviceList) -> None:
    keys = account_keys(device_list)[::-1]
    if len(set(keys)) != len(keys):
        raise InvalidBundleError("the device list goes back to a superseded key; it was dropped")
    for place, one in enumerate(device_list.superseded, 1):
        verify(one.account_key, succession_bytes(device_list.user, keys[place]), one.signature)


def verify_signed_prekey(
    address: DeviceAddress, signing_key: SigningKey, record: SignedPrekeyRecord
) -> None:
    """Return only if the device signed this medium-term prekey, and it is a good key.

    Raises:
        InvalidSignatureError: The signature does not hold.
        InvalidKeyError: The prekey or the signing key is not a good key.
    """
    verify(signing_key, signed_prekey_bytes(address, record), record.signature)
    parse_x25519(record.key)


def verify_kem_prekey(
    address: DeviceAddress, signing_key: SigningKey, record: KemPrekeyRecord
) -> None:
    """Return only if the device signed this KEM prekey, and it is a good key.

    Raises:
        InvalidSignatureError: The signature does not hold.
        InvalidKeyError: The prekey or the signing key is not a good key.
    """
    verify(signing_key, kem_prekey_bytes(address, record), record.signature)
    parse_ml_kem_1024(record.key)


def listed_device(device_list: DeviceList, address: DeviceAddress) -> DeviceEntry | None:
    """Return the list's entry for ``address``, or None: not active, or another user's device."""
    entries = device_list.devices
    user = device_list.user
    return next((one for one in entries if device_address(user, one.number) == address), None)


def verify_bundle(bundle: PrekeyBundle, now_ms: int) -> None:
    """Return only if every signature of a bundle holds and its prekeys are fresh.

    Args:
        bundle: The bundle as it came.
        now_ms: This device's clock, ms since 1970.

    Raises:
        InvalidSignatureError: A signature does not hold.
        InvalidKeyError: A key is not a good key.
        InvalidBundleError: The list is another user's or lacks the device, or a prekey was
            signed more than ``MAX_CLOCK_SKEW_MS`` in the future.
        StaleBundleError: The signed or last-resort prekey is over ``MAX_PREKEY_AGE_MS`` and
            ``MAX_CLOCK_SKEW_MS`` old.
    """
    entry = listed_device(bundle.device_list, bundle.address)
    if entry is None:
        raise InvalidBundleError(
            "the bundle's device is not in its device list; it was dropped, no session was made"
        )
    verify_device_list(bundle.device_list)
    verify_endorsements(bundle.device_list)
    verify_signed_prekey(bundle.address, entry.signing_key, bundle.signed_prekey)
    verify_kem_prekey(bundle.address, entry.signing_key, bundle.kem_prekey)
    if bundle.one_time_prekey is not None:
        parse_x25519(bundle.one_time_prekey.key)
    _check_age(bundle, now_ms)


def _check_age(bundle: PrekeyBundle, now_ms: int) -> None:
    signed_at, kem = bundle.signed_prekey.signed_at, bundle.kem_prekey
    if max(signed_at, kem.signed_at) > now_ms + MAX_CLOCK_SKEW_MS:
        raise InvalidBundleError(
            "a prekey was signed in the future; no session was made; check this device's clock"
        )
    # A one-time KEM prekey may wait for long: its private half is kept until it is used.
    oldest = min(signed_at, kem.signed_at) if kem.last_resort else signed_at
    if now_ms - oldest > MAX_PREKEY_AGE_MS + MAX_CLOCK_SKEW_MS:
        raise StaleBundleError(
            "the device has not renewed its prekeys for over 31 days; no session was made; "
            "the message can wait until it comes back"
        )
