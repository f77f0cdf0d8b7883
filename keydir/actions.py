"""What the directory does for a device whose request is authentic and new."""

from collections.abc import Callable, Mapping
from typing import Final

from client_sdk.core.keys import parse_x25519
from client_sdk.core.signatures import verify_kem_prekey, verify_signed_prekey
from client_sdk.wire.bundle import (
    DEVICE_LIST,
    DeviceList,
    KemPrekeyRecord,
    OneTimePrekeyRecord,
    PrekeyBundle,
    SignedPrekeyRecord,
)
from client_sdk.wire.codec import Codec, encode
from client_sdk.wire.directory import (
    CONTACTS_PAGE,
    FETCH_BUNDLE,
    FETCH_CONTACTS,
    FETCH_DEVICE_LIST,
    PUBLISH_PREKEYS,
    Action,
    Contact,
    ContactsReply,
    DeviceListReply,
    PrekeyCounts,
    Relation,
    Status,
)
from client_sdk.wire.healing import STORE_COUNTERS, CountersReply
from client_sdk.wire.ids import DeviceAddress, UserName
from client_sdk.wire.limits import MAX_DIRECTORY_BYTES, MAX_EARLIER_LISTS
from keydir.desk import Desk
from keydir.device_actions import DeviceActions
from keydir.errors import RefusedRequestError
from keydir.limits import PAIR_LIMIT, REQUESTER_LIMIT, TARGET_LIMIT
from keydir.outcome import Caller, Outcome
from keydir.ports import Transaction
from keydir.records import Account, Device, Member, PoolCounts, Prekey, PrekeyKind
from keydir.rules import (
    absent,
    check_prekey_batch,
    hands_out_one_time,
    highest_counters,
    low_event_is_due,
    pool_is_low,
    relation,
    room,
)
from keydir.throttle import Charge, allow

_SIGNED_PREKEY: Final = Codec(SignedPrekeyRecord, MAX_DIRECTORY_BYTES)
_KEM_PREKEY: Final = Codec(KemPrekeyRecord, MAX_DIRECTORY_BYTES)
_ONE_TIME_PREKEY: Final = Codec(OneTimePrekeyRecord, MAX_DIRECTORY_BYTES)


_NOT_CONTACT: Final = Outcome(Status.NOT_CONTACT)


class Actions:
    """Every action, each inside the caller's transaction; a refused one has written nothing."""

    def __init__(self, desk: Desk) -> None:
        """Use the directory's policy, buckets and clocks."""
        self._desk = desk
        devices = DeviceActions(desk)
        self._by_number: Mapping[int, Callable[[Transaction, Caller, bytes], Outcome]] = {
            Action.PUBLISH_PREKEYS: self._publish_prekeys,
            Action.FETCH_DEVICE_LIST: self._fetch_device_list,
            Action.FETCH_BUNDLE: self._fetch_bundle,
            Action.CONTACTS: self._contacts,
            Action.REPORT_COUNTERS: _report_counters,
            Action.OPEN_LINK: devices.open_link,
            Action.FETCH_JOIN: devices.fetch_join,
            Action.UPDATE_DEVICES: devices.update_devices,
        }

    def perform(
        self, transaction: Transaction, caller: Caller, action: int, body: bytes
    ) -> Outcome:
        """Do what a request asks for.

        Raises:
            ProtocolError: The body is malformed or breaks a rule; nothing was written.
        """
        perform = self._by_number.get(action)
        if perform is None:
            raise RefusedRequestError("a request for something that this directory does not do")
        return perform(transaction, caller, body)

    def _publish_prekeys(self, transaction: Transaction, caller: Caller, body: bytes) -> Outcome:
        batch = PUBLISH_PREKEYS.decode(body)
        address, key = caller.device.address, caller.device.signing_key
        now = self._desk.wall()
        check_prekey_batch(batch, now)
        if batch.signed_prekey is not None:
            verify_signed_prekey(address, key, batch.signed_prekey)
        for record in (batch.last_resort, *batch.kem_prekeys):
            if record is not None:
                verify_kem_prekey(address, key, record)
        for one_time in batch.one_time_prekeys:
            parse_x25519(one_time.key)
        prekeys = transaction.prekeys
        for kind, standing in (
            (PrekeyKind.SIGNED, batch.signed_prekey),
            (PrekeyKind.LAST_RESORT, batch.last_resort),
        ):
            if standing is not None:
                prekeys.keep_freshest(address, kind, _row(standing, standing.signed_at))
        left = prekeys.counts(address)
        one_time_rows = [_row(record, now) for record in batch.one_time_prekeys]
        kem_rows = [_row(record, record.signed_at) for record in batch.kem_prekeys]
        prekeys.add_one_time(address, PrekeyKind.ONE_TIME, one_time_rows, room(left.one_time))
        prekeys.add_one_time(address, PrekeyKind.ONE_TIME_KEM, kem_rows, room(left.one_time_kem))
        transaction.accounts.note_upload(address, now)
        return Outcome(Status.OK, encode(PrekeyCounts(*prekeys.counts(address))))

    def _fetch_device_list(self, transaction: Transaction, caller: Caller, body: bytes) -> Outcome:
        user, version = FETCH_DEVICE_LIST.decode(body)
        found = self._reach(transaction, caller, user)
        if found is None:
            return _NOT_CONTACT
        account, what = found
        newest = DEVICE_LIST.decode(account.device_list)
        chain: list[DeviceList] = []
        if version:  # who knows none takes the newest on first use
            stored = transaction.accounts.lists_after(user, version, MAX_EARLIER_LISTS + 1)
            chain = [DEVICE_LIST.decode(one) for one in stored]
        offered = chain[-1] if chain else newest
        reply = DeviceListReply(
            *(offered, what, account.role, account.name),
            earlier=tuple(chain[:-1]),
            more=offered.version < newest.version,
            absent=absent(newest, transaction.accounts.devices(user), self._desk.wall()),
        )
        return Outcome(Status.OK, encode(reply))

    def _fetch_bundle(self, transaction: Transaction, caller: Caller, body: bytes) -> Outcome:
        target = FETCH_BUNDLE.decode(body).address
        requester, now = caller.device.address, self._desk.wall()
        # Charged before anything is looked up: the answer to one request too many is the same
        # for users that exist and users that do not.
        buckets = transaction.buckets
        if not allow(buckets, now, Charge(REQUESTER_LIMIT, requester_bucket(requester))):
            return Outcome(Status.RATE_LIMITED)
        member = transaction.accounts.member(target)
        if member is None or member.device.revoked:
            return _NOT_CONTACT
        what = relation(self._desk.policy, caller.account, member.account)
        if what is None:
            return _NOT_CONTACT
        pair = Charge(PAIR_LIMIT, f"pair {requester} {target}")
        if not allow(buckets, now, pair, Charge(TARGET_LIMIT, f"to {target}")):
            return Outcome(Status.RATE_LIMITED)
        handed = _hand_out(transaction, member, what)
        if handed is None:
            return Outcome(Status.UNAVAILABLE)
        bundle, left = handed
        low = target if self._tells_low(transaction, member.device, left) else None
        return Outcome(Status.OK, encode(bundle), low)

    def _contacts(self, transaction: Transaction, caller: Caller, body: bytes) -> Outcome:
        after = FETCH_CONTACTS.decode(body).after
        roles = sorted(self._desk.policy.partners(caller.account.role))
        # Two more than a page: one may be the caller, and one tells that there are more.
        listed = transaction.accounts.listed(roles, after, CONTACTS_PAGE + 2)
        others = [Contact(*row) for row in listed if row.user != caller.account.user]
        page = tuple(others[:CONTACTS_PAGE])
        return Outcome(Status.OK, encode(ContactsReply(page, len(others) > len(page))))

    def _reach(
        self, transaction: Transaction, caller: Caller, user: UserName
    ) -> tuple[Account, Relation] | None:
        account = transaction.accounts.account(user)
        what = relation(self._desk.policy, caller.account, account)
        return None if account is None or what is None else (account, what)

    def _tells_low(self, transaction: Transaction, device: Device, left: PoolCounts) -> bool:
        now = self._desk.wall()
        if not pool_is_low(left):
            return False
        if not low_event_is_due(device.low_event_at, device.published_at, now):
            return False
        transaction.accounts.note_low_event(device.address, now)
        return True


def requester_bucket(address: DeviceAddress) -> str:
    """Return the name of the bucket of what a device asks for of others."""
    return f"from {address}"


def _report_counters(transaction: Transaction, caller: Caller, body: bytes) -> Outcome:
    reported, address = STORE_COUNTERS.decode(body), caller.device.address
    before = transaction.counters.find(address)
    transaction.counters.keep(address, highest_counters(before, reported))
    return Outcome(Status.OK, encode(CountersReply(before)))


def _hand_out(
    transaction: Transaction, target: Member, what: Relation
) -> tuple[PrekeyBundle, PoolCounts] | None:
    """Return a bundle and how many one-time prekeys are left after it."""
    prekeys, address = transaction.prekeys, target.device.address
    # Strangers wait for each other, so that many at once leave the reserve of the contacts.
    stranger = what is Relation.STRANGER
    supply = prekeys.held_supply(address) if stranger else prekeys.supply(address)
    signed, last_resort, left = supply
    if signed is None or last_resort is None:
        return None
    pools = zip((PrekeyKind.ONE_TIME, PrekeyKind.ONE_TIME_KEM), left, strict=True)
    kinds = [kind for kind, count in pools if hands_out_one_time(what, count)]
    taken = prekeys.take_one_time(address, kinds)
    one_time, kem = taken.get(PrekeyKind.ONE_TIME), taken.get(PrekeyKind.ONE_TIME_KEM)
    bundle = PrekeyBundle(
        address=address,
        device_list=DEVICE_LIST.decode(target.account.device_list),
        signed_prekey=_SIGNED_PREKEY.decode(signed.record),
        one_time_prekey=None if one_time is None else _ONE_TIME_PREKEY.decode(one_time.record),
        kem_prekey=_KEM_PREKEY.decode((kem or last_resort).record),
    )
    return bundle, PoolCounts(left.one_time - bool(one_time), left.one_time_kem - bool(kem))


def _row(
    record: SignedPrekeyRecord | KemPrekeyRecord | OneTimePrekeyRecord, signed_at: int
) -> Prekey:
    return Prekey(record.id, signed_at, encode(record))
