"""The next device list of a user: a device more, a device less, or another account key too."""

from client_sdk.core.errors import DevicesFullError, InvalidBundleError
from client_sdk.core.keys import Ed25519KeyPair
from client_sdk.core.signatures import signed_by, verify_device_list, verify_endorsements
from client_sdk.wire.bundle import (
    DeviceEntry,
    DeviceList,
    Superseded,
    device_list_hash,
    succession_bytes,
)
from client_sdk.wire.encoded_keys import AccountKey
from client_sdk.wire.ids import DeviceNumber
from client_sdk.wire.limits import MAX_DEVICE_NUMBER, MAX_DEVICES, MAX_SUPERSEDED


def verify_follows(known: DeviceList, offered: DeviceList) -> None:
    """Return only if ``offered`` is the very next list after ``known``; signatures are checked.

    It names ``known`` by its hash, keeps the keys of every device that stays, gives a new device a
    number that was never used, and is under the same account key or one that it has signed.

    Raises:
        InvalidBundleError: It does not follow.
        ProtocolError: A signature or key in it is bad.
    """
    verify_device_list(offered)
    verify_endorsements(offered)
    same = (offered.account_key, offered.superseded) == (known.account_key, known.superseded)
    put_aside = [one.account_key for one in offered.superseded[-1:]]
    replaced = offered.superseded[:-1] == known.superseded and put_aside == [known.account_key]
    kept = {entry.number: entry._replace(manager=False) for entry in known.devices}
    if (
        offered.user != known.user
        or offered.version != known.version + 1
        or offered.previous_hash != device_list_hash(known)
        or not (same or replaced)
        or offered.next_number < known.next_number
        or any(
            entry.number < known.next_number
            and kept.get(entry.number) != entry._replace(manager=False)
            for entry in offered.devices
        )
    ):
        raise InvalidBundleError("the device list does not follow the known one; it was dropped")


def check_room(known: DeviceList) -> None:
    """Return only if one more device fits.

    Raises:
        DevicesFullError: ``MAX_DEVICES`` are active, or all ``MAX_DEVICE_NUMBER`` were used.
    """
    if len(known.devices) >= MAX_DEVICES:
        raise DevicesFullError(
            f"{known.user} has {MAX_DEVICES} devices, and no more fit; nothing was changed; "
            "remove one first"
        )
    if known.next_number > MAX_DEVICE_NUMBER:
        raise DevicesFullError(
            f"all {MAX_DEVICE_NUMBER} device numbers of {known.user} were used; nothing was "
            "changed; only a new account has more"
        )


def list_with(account: Ed25519KeyPair, known: DeviceList, entry: DeviceEntry) -> DeviceList:
    """Return the list after ``known`` with one device more, at its next number.

    Raises:
        DevicesFullError: No device more fits; nothing was signed.
    """
    check_room(known)
    return signed_by(
        account,
        known._replace(
            version=known.version + 1,
            previous_hash=device_list_hash(known),
            devices=(*known.devices, entry),
            next_number=entry.number + 1,
        ),
    )


def list_without(account: Ed25519KeyPair, known: DeviceList, number: DeviceNumber) -> DeviceList:
    """Return the list after ``known`` without one device; its number stays used."""
    return signed_by(
        account,
        known._replace(
            version=known.version + 1,
            previous_hash=device_list_hash(known),
            devices=tuple(one for one in known.devices if one.number != number),
        ),
    )


def superseded_list(
    account: Ed25519KeyPair,
    successor: Ed25519KeyPair,
    known: DeviceList,
    devices: tuple[DeviceEntry, ...],
) -> DeviceList:
    """Return the list after ``known`` under another account key, which the old one signs.

    Args:
        account: The account key of ``known``.
        successor: A newly drawn key.
        known: The newest list.
        devices: All active devices from now on.

    Raises:
        DevicesFullError: ``MAX_SUPERSEDED`` keys were put aside before; nothing was signed.
    """
    if len(known.superseded) >= MAX_SUPERSEDED:
        raise DevicesFullError(
            f"the account key of {known.user} was replaced {MAX_SUPERSEDED} times, and no more "
            "fit; nothing was changed; only a new account has another key"
        )
    key = AccountKey(successor.public)
    signature = account.sign(succession_bytes(known.user, key))
    return signed_by(
        successor,
        known._replace(
            version=known.version + 1,
            previous_hash=device_list_hash(known),
            account_key=key,
            devices=devices,
            superseded=(*known.superseded, Superseded(known.account_key, signature)),
        ),
    )
