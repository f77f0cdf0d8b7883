"""Users and devices in SQL."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import (
    Connection,
    Executable,
    Row,
    and_,
    bindparam,
    delete,
    insert,
    or_,
    select,
    update,
)

from client_sdk.wire.ids import DeviceAddress, UserName
from keydir.records import Account, Device, ListedUser, Member
from keydir.stores.schema import DEVICE_LISTS, DEVICES, INVITATIONS, USERS

_MEMBERS: Final = select(
    *(USERS.c[name] for name in ("user", "role", "name", "device_list")),
    USERS.c.revoked_at.label("account_revoked_at"),
    *(column for column in DEVICES.c if column.name != "user"),
).join_from(DEVICES, USERS, DEVICES.c.user == USERS.c.user)
_FIND_MEMBER: Final = _MEMBERS.where(DEVICES.c.address == bindparam("wanted"))
_HOLD_MEMBER: Final = _FIND_MEMBER.with_for_update(key_share=True, of=DEVICES)

_ACCEPT: Final = (
    update(DEVICES)
    .where(DEVICES.c.address == bindparam("wanted"))
    .values(last_counter=bindparam("counter"), invitation_id=None)
)


class SqlAccounts:
    """Users and devices of one transaction, see ``Accounts``."""

    def __init__(self, connection: Connection) -> None:
        """Use the caller's open transaction."""
        self._connection = connection

    def account(self, user: UserName) -> Account | None:
        """Return one user, revoked or not."""
        return self._account(select(USERS).where(USERS.c.user == user))

    def held_account(self, user: UserName) -> Account | None:
        """Return one user as ``account``, and keep others from it until the end."""
        return self._account(
            select(USERS).where(USERS.c.user == user).with_for_update(key_share=True)
        )

    def add(self, account: Account, device: Device) -> None:
        """Add a user with the first device."""
        self._connection.execute(
            insert(USERS).values(
                user=account.user,
                role=account.role,
                name=account.name,
                device_list=account.device_list,
            )
        )
        self.put_list(account.user, 1, account.device_list)
        self.add_device(device)

    def replace_devices(self, account: Account, device: Device, version: int, now: int) -> None:
        """Give a user one new device in place of all earlier ones, which are revoked."""
        self.revoke(account.user, None, now)
        self._connection.execute(
            update(USERS)
            .where(USERS.c.user == account.user)
            .values(role=account.role, name=account.name, revoked_at=None)
        )
        if version == 1:  # of another account key: nothing leads there
            self._connection.execute(
                delete(DEVICE_LISTS).where(DEVICE_LISTS.c.user == account.user)
            )
        self.put_list(account.user, version, account.device_list)
        self.add_device(device)

    def add_device(self, device: Device) -> None:
        """Add a device to a user who is there."""
        self._connection.execute(
            insert(DEVICES).values(
                address=device.address,
                user=device.user,
                signing_key=device.signing_key,
                last_counter=device.last_counter,
                invitation_id=device.invitation_id,
            )
        )

    def put_list(self, user: UserName, version: int, device_list: bytes) -> None:
        """Make a device list the newest of a user; earlier ones are kept."""
        self._connection.execute(
            insert(DEVICE_LISTS).values(user=user, version=version, device_list=device_list)
        )
        self._connection.execute(
            update(USERS).where(USERS.c.user == user).values(device_list=device_list)
        )

    def lists_after(self, user: UserName, version: int, limit: int) -> list[bytes]:
        """Return up to ``limit`` device lists of a user after a version, oldest first."""
        rows = self._connection.execute(
            select(DEVICE_LISTS.c.device_list)
            .where(DEVICE_LISTS.c.user == user, DEVICE_LISTS.c.version > version)
            .order_by(DEVICE_LISTS.c.version)
            .limit(limit)
        )
        return [row.device_list for row in rows]

    def devices(self, user: UserName) -> list[Device]:
        """Return all devices that a user ever had."""
        rows = self._connection.execute(select(DEVICES).where(DEVICES.c.user == user))
        return [_device(row) for row in rows]

    def device(self, address: DeviceAddress) -> Device | None:
        """Return one device, revoked or not; a device of a revoked user is revoked."""
        row = self._connection.execute(select(DEVICES).where(DEVICES.c.address == address)).first()
        return None if row is None else _device(row)

    def member(self, address: DeviceAddress) -> Member | None:
        """Return one device with its account, revoked or not."""
        return self._member(_FIND_MEMBER, address)

    def held_member(self, address: DeviceAddress) -> Member | None:
        """Return one device as ``member``, and keep others from the device until the end."""
        return self._member(_HOLD_MEMBER, address)

    def accept(self, address: DeviceAddress, counter: int) -> None:
        """Record the newest counter of a device, and that its invitation is used up."""
        self._connection.execute(_ACCEPT, {"wanted": address, "counter": counter})

    def note_upload(self, address: DeviceAddress, now: int) -> None:
        """Record that a device has just published prekeys."""
        self._set(address, published_at=now)

    def note_low_event(self, address: DeviceAddress, now: int) -> None:
        """Record that a device has just been told of a low pool."""
        self._set(address, low_event_at=now)

    def listed(self, roles: Sequence[str], after: str, limit: int) -> list[ListedUser]:
        """Return up to ``limit`` active users of ``roles`` whose names sort behind ``after``."""
        # Each role by itself is a walk along the index, however many users there are.
        found: list[ListedUser] = []
        for role in roles:
            rows = self._connection.execute(
                select(USERS.c.user, USERS.c.role, USERS.c.name)
                .where(USERS.c.role == role, USERS.c.user > after, USERS.c.revoked_at.is_(None))
                .order_by(USERS.c.user)
                .limit(limit)
            )
            found += [ListedUser(UserName(user), of, name) for user, of, name in rows]
        return sorted(found)[:limit]

    def roles_in_use(self) -> frozenset[str]:
        """Return the roles of all users and open invitations."""
        rows = self._connection.execute(select(USERS.c.role).union(select(INVITATIONS.c.role)))
        return frozenset(row.role for row in rows)

    def revoke(self, user: UserName, address: DeviceAddress | None, now: int) -> bool:
        """Mark a user, or only one device, as revoked; False where there is none such."""
        if address is None:
            changed = self._connection.execute(
                update(USERS)
                .where(USERS.c.user == user)
                .values(revoked_at=now)
                .returning(USERS.c.user)
            ).first()
            if changed is None:
                return False
        condition = DEVICES.c.user == user if address is None else DEVICES.c.address == address
        revoked = self._connection.execute(
            update(DEVICES)
            .where(condition)
            .values(revoked_at=now, swept_at=None)
            .returning(DEVICES.c.address)
        ).all()
        return bool(revoked)

    def addresses(self, user: UserName) -> list[DeviceAddress]:
        """Return all devices that a user ever had."""
        rows = self._connection.execute(select(DEVICES.c.address).where(DEVICES.c.user == user))
        return [DeviceAddress(row.address) for row in rows]

    def unswept(self, before: int) -> list[DeviceAddress]:
        """Return revoked devices never swept, or last swept before ``before``."""
        rows = self._connection.execute(
            select(DEVICES.c.address).where(
                and_(
                    # So written, and sorted here, SQLite finds the few by the index.
                    DEVICES.c.revoked_at > 0,
                    or_(DEVICES.c.swept_at.is_(None), DEVICES.c.swept_at < before),
                )
            )
        )
        return sorted(DeviceAddress(row.address) for row in rows)

    def note_sweep(self, address: DeviceAddress, now: int) -> None:
        """Record that nothing of a revoked device is left on the broker."""
        self._set(address, swept_at=now)

    def _account(self, query: Executable) -> Account | None:
        row = self._connection.execute(query).first()
        return None if row is None else _account(row, row.revoked_at)

    def _member(self, query: Executable, address: DeviceAddress) -> Member | None:
        row = self._connection.execute(query, {"wanted": address}).first()
        if row is None:
            return None
        return Member(_device(row), _account(row, row.account_revoked_at))

    def _set(self, address: DeviceAddress, **values: int | None) -> None:
        self._connection.execute(
            update(DEVICES).where(DEVICES.c.address == address).values(**values)
        )


def _account(row: Row[tuple[object, ...]], revoked_at: int | None) -> Account:
    return Account(row.user, row.role, row.name, row.device_list, revoked_at is not None)


def _device(row: Row[tuple[object, ...]]) -> Device:
    return Device(
        address=row.address,
        user=row.user,
        signing_key=row.signing_key,
        last_counter=row.last_counter,
        invitation_id=row.invitation_id,
        published_at=row.published_at,
        low_event_at=row.low_event_at,
        revoked=row.revoked_at is not None,
    )
