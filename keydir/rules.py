"""The directory's decisions on records: pure; time is an argument.

All times are in milliseconds; which clock they come from is the caller's choice.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from client_sdk.wire.bundle import (
    DAY_MS,
    MAX_CLOCK_SKEW_MS,
    MAX_PREKEY_AGE_MS,
    NO_PREVIOUS_LIST,
    DeviceEntry,
    DeviceList,
    device_list_hash,
)
from client_sdk.wire.directory import PublishPrekeys, Relation
from client_sdk.wire.healing import StoreCounters
from client_sdk.wire.ids import DeviceNumber, UserName, device_address
from client_sdk.wire.limits import MAX_DEVICE_NUMBER
from keydir.errors import NumbersUsedUpError, RefusedRequestError
from keydir.limits import HOUR_MS, MINUTE_MS
from keydir.policy import Policy
from keydir.records import Account, Answer, Device, InvitationRow, PoolCounts

ANSWER_LIFETIME_MS: Final = 10 * MINUTE_MS
"""A repeated request gets the same reply bytes for this long."""

POOL_SIZE: Final = 100
"""One-time prekeys of a kind that a device keeps published."""

POOL_CAP: Final = 200
"""One-time prekeys of a kind that are kept at all: two full pools."""

POOL_RESERVE: Final = POOL_SIZE // 10
"""The last keys of a pool that only contacts get, so that strangers cannot empty it."""

LOW_POOL: Final = 20
"""With fewer keys of a kind left, the device is told."""

LOW_EVENT_INTERVAL_MS: Final = MINUTE_MS
"""A device is told at most this often: its radio is not woken by somebody else's requests."""

LOW_EVENT_REPEAT_MS: Final = HOUR_MS
"""An event that no upload answered is said again after this: the broker may have lost it."""

INACTIVE_AFTER_MS: Final = 30 * DAY_MS
"""A device that was not seen for this long is not waited for: its mail expires then, too."""


class Verdict(Enum):
    """What becomes of an authentic request."""

    NEW = "new"
    REPEATED = "repeated"
    """The same bytes again: the same reply again."""
    CONFLICT = "conflict"
    """Other bytes under a request id that was used: dropped."""
    STALE = "stale"
    """The counter was used before."""


class Redemption(Enum):
    """What becomes of an enrolment under a known invitation."""

    FIRST = "first"
    REPEATED = "repeated"
    USED = "used"
    EXPIRED = "expired"


def judge_request(
    counter: int, request_hash: bytes, last_counter: int, answer: Answer | None
) -> Verdict:
    """Return what becomes of an authentic request.

    Args:
        counter: The request's own counter.
        request_hash: SHA-256 of the request's bytes.
        last_counter: The newest counter accepted from its device.
        answer: The reply kept under its request id, or None.
    """
    if answer is not None:
        return Verdict.REPEATED if answer.request_hash == request_hash else Verdict.CONFLICT
    return Verdict.NEW if counter > last_counter else Verdict.STALE


def judge_redemption(
    invitation: InvitationRow, device_list_hash: bytes, credential_hash: bytes, now: int
) -> Redemption:
    """Return what becomes of an enrolment: the first keys win, and may be repeated."""
    if now >= invitation.expires_at:
        return Redemption.EXPIRED
    if invitation.device_list_hash is None:
        return Redemption.FIRST
    same = (invitation.device_list_hash, invitation.credential_hash) == (
        device_list_hash,
        credential_hash,
    )
    return Redemption.REPEATED if same else Redemption.USED


def check_first_list(device_list: DeviceList, user: UserName) -> None:
    """Accept the shape of a new account's device list; signatures are for the caller.

    Raises:
        RefusedRequestError: It is not version 1 of ``user`` with the one manager device 1.
    """
    devices = device_list.devices
    if (
        device_list.user != user
        or device_list.version != 1
        or device_list.previous_hash != NO_PREVIOUS_LIST
        or len(devices) != 1
        or devices[0].number != 1
        or not devices[0].manager
    ):
        raise RefusedRequestError("not the first device list of the invited user")


def check_return_list(
    device_list: DeviceList, known: DeviceList, used: Collection[int], *, may_reset: bool
) -> None:
    """Accept the shape of a list by which one new device takes an account over.

    Under the present account key it is the next list of the chain; under another one, where that
    is allowed, it is a first list. Signatures are for the caller.

    Args:
        device_list: What the new device sent.
        known: The account's present list.
        used: Device numbers that the user ever had.
        may_reset: Whether a new account key is allowed.

    Raises:
        RefusedRequestError: It is neither, or not of one manager device with an unused number.
    """
    same_account = device_list.account_key == known.account_key
    first = (1, NO_PREVIOUS_LIST, ())
    following = (known.version + 1, device_list_hash(known), known.superseded)
    place = following if same_account else first
    devices = device_list.devices
    if (
        device_list.user != known.user
        or not (same_account or may_reset)
        or (device_list.version, device_list.previous_hash, device_list.superseded) != place
        or len(devices) != 1
        or devices[0].number in used
        or device_list.next_number != devices[0].number + 1
        or not devices[0].manager
    ):
        raise RefusedRequestError("not a list by which a device takes this account over")


def next_device_number(used: Collection[int]) -> DeviceNumber:
    """Return a device number that a user never had.

    Raises:
        NumbersUsedUpError: All of 1 to 127 were used; nothing was changed.
    """
    number = max(used, default=0) + 1
    if number > MAX_DEVICE_NUMBER:
        raise NumbersUsedUpError(
            f"all {MAX_DEVICE_NUMBER} device numbers of this user were used; nothing was changed; "
            "invite the person under another name"
        )
    return DeviceNumber(number)


@dataclass(frozen=True, slots=True)
class ListChange:
    """What a device list has more and less than the one before."""

    added: tuple[DeviceEntry, ...]
    removed: tuple[DeviceNumber, ...]


def list_change(known: DeviceList, offered: DeviceList) -> ListChange:
    """Return the devices that ``offered`` adds and removes; it was found to follow ``known``."""
    before = {entry.number for entry in known.devices}
    after = {entry.number for entry in offered.devices}
    return ListChange(
        tuple(entry for entry in offered.devices if entry.number not in before),
        tuple(sorted(before - after)),
    )


def absent(
    device_list: DeviceList, devices: Sequence[Device], now: int
) -> tuple[DeviceNumber, ...]:
    """Return the listed devices that nobody waits for: revoked, or silent for 30 days.

    A device uploads prekeys, if only none, whenever it connects. One that never did yet is new.
    """
    known = {device.address: device for device in devices}
    found: list[DeviceNumber] = []
    for entry in device_list.devices:
        device = known.get(device_address(device_list.user, entry.number))
        seen = None if device is None else device.published_at
        silent = seen is not None and seen + INACTIVE_AFTER_MS < now
        if device is None or device.revoked or silent:
            found.append(entry.number)
    return tuple(found)


def check_prekey_batch(batch: PublishPrekeys, now: int) -> None:
    """Accept the shape of an upload; signatures are for the caller.

    Raises:
        RefusedRequestError: A KEM prekey of the wrong kind, an id twice, or a signing time that
            is too old or in the future.
    """
    if batch.last_resort is not None and not batch.last_resort.last_resort:
        raise RefusedRequestError("a one-time KEM prekey in the place of the last resort")
    if any(record.last_resort for record in batch.kem_prekeys):
        raise RefusedRequestError("a last-resort KEM prekey among the one-time ones")
    for ids in (
        [record.id for record in batch.one_time_prekeys],
        [record.id for record in batch.kem_prekeys],
    ):
        if len(set(ids)) != len(ids):
            raise RefusedRequestError("a prekey id twice in one upload")
    # A one-time prekey may be old: a device makes a batch and may be away before it uploads it.
    standing = [one for one in (batch.signed_prekey, batch.last_resort) if one is not None]
    oldest, newest = now - MAX_PREKEY_AGE_MS - MAX_CLOCK_SKEW_MS, now + MAX_CLOCK_SKEW_MS
    if any(record.signed_at < oldest for record in standing):
        raise RefusedRequestError("a prekey signed too long ago; sign a new one")
    if any(record.signed_at > newest for record in (*standing, *batch.kem_prekeys)):
        raise RefusedRequestError("a prekey signed in the future")


def highest_counters(before: StoreCounters | None, reported: StoreCounters) -> StoreCounters:
    """Return what is kept of a device's reports: a lower one never takes the place of a higher.

    The device judges what it is told was there before: a directory cannot tell a restored
    backup from a liar, and neither harms anybody but the device itself.
    """
    if before is None or reported[:2] > before[:2]:
        return reported
    return before


def relation(policy: Policy, requester: Account, other: Account | None) -> Relation | None:
    """Return what two users are to each other; None: unknown, revoked or out of reach alike."""
    if other is None or other.revoked:
        return None
    if other.user == requester.user:
        return Relation.CONTACT
    return policy.relation(requester.role, other.role)


def hands_out_one_time(relation_to_owner: Relation, left: int) -> bool:
    """Tell whether a one-time prekey is handed out; the last resort is used otherwise."""
    return left > (0 if relation_to_owner is Relation.CONTACT else POOL_RESERVE)


def room(left: int) -> int:
    """Return how many one-time prekeys a pool of ``left`` still takes."""
    return max(0, POOL_CAP - left)


def pool_is_low(counts: PoolCounts) -> bool:
    """Tell whether either pool of a device needs new keys."""
    return min(counts) < LOW_POOL


def low_event_is_due(last_event: int | None, last_upload: int | None, now: int) -> bool:
    """Tell whether a device is told now that a pool is low."""
    if last_event is None:
        return True
    since = now - last_event
    answered = last_upload is not None and last_upload >= last_event
    return since >= (LOW_EVENT_INTERVAL_MS if answered else LOW_EVENT_REPEAT_MS)
