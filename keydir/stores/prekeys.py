"""Prekeys in SQL: a one-time key is deleted by the statement that reads it."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final

from sqlalchemy import (
    Connection,
    ScalarSelect,
    String,
    and_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
)
from sqlalchemy.sql.dml import ReturningDelete

from client_sdk.wire.ids import DeviceAddress
from keydir.records import PoolCounts, Prekey, PrekeyKind, Supply
from keydir.stores.schema import ONE_TIME_PREKEYS, SPENT_PREKEYS, STANDING_PREKEYS
from keydir.stores.upsert import upsert

_POOL: Final = ONE_TIME_PREKEYS.c
_STANDING: Final = STANDING_PREKEYS.c
_OWNER: Final = bindparam("owner", type_=String)


def _left(kind: PrekeyKind) -> ScalarSelect[int]:
    return (
        select(func.count())
        .select_from(ONE_TIME_PREKEYS)
        .where(_POOL.address == _OWNER, _POOL.kind == kind)
        .scalar_subquery()
    )


_SUPPLY: Final = select(
    *(_STANDING.kind, _STANDING.key_id, _STANDING.signed_at, _STANDING.record),
    *(_left(kind) for kind in (PrekeyKind.ONE_TIME, PrekeyKind.ONE_TIME_KEM)),
).where(_STANDING.address == _OWNER)


@cache
def _taking(kinds: tuple[PrekeyKind, ...]) -> ReturningDelete[int, int, int, bytes]:
    oldest = [and_(_POOL.kind == kind, _POOL.key_id == _oldest(kind)) for kind in kinds]
    return (
        delete(ONE_TIME_PREKEYS)
        .where(_POOL.address == _OWNER, or_(*oldest))
        .returning(_POOL.kind, _POOL.key_id, _POOL.signed_at, _POOL.record)
    )


def _oldest(kind: PrekeyKind) -> ScalarSelect[int]:
    table = ONE_TIME_PREKEYS.alias("oldest").c
    # A key that another transaction has taken and not yet committed is passed over.
    return (
        select(table.key_id)
        .where(table.address == _OWNER, table.kind == kind)
        .order_by(table.key_id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )


class SqlPrekeys:
    """Prekeys of one transaction, see ``Prekeys``."""

    def __init__(self, connection: Connection) -> None:
        """Use the caller's open transaction."""
        self._connection = connection

    def keep_freshest(self, address: DeviceAddress, kind: PrekeyKind, prekey: Prekey) -> None:
        """Replace a signed or last-resort prekey, unless the one kept was signed later."""
        new = upsert(self._connection.dialect.name, STANDING_PREKEYS).values(
            address=address,
            kind=kind,
            key_id=prekey.id,
            signed_at=prekey.signed_at,
            record=prekey.record,
        )
        fresh = {name: new.excluded[name] for name in ("key_id", "signed_at", "record")}
        self._connection.execute(
            new.on_conflict_do_update(
                index_elements=["address", "kind"],
                set_=fresh,
                where=STANDING_PREKEYS.c.signed_at < new.excluded.signed_at,
            )
        )

    def supply(self, address: DeviceAddress) -> Supply:
        """Return what a bundle can be made of."""
        rows = self._connection.execute(_SUPPLY, {"owner": address}).all()
        found = {kind: Prekey(*prekey) for kind, *prekey, _, _ in rows}
        left = PoolCounts(*rows[0][-2:]) if rows else PoolCounts(0, 0)
        return Supply(found.get(PrekeyKind.SIGNED), found.get(PrekeyKind.LAST_RESORT), left)

    def held_supply(self, address: DeviceAddress) -> Supply:
        """Return the same, and keep others who hold it from it until the end."""
        table = STANDING_PREKEYS.c
        # A statement of its own: the one after it sees what others did meanwhile.
        self._connection.execute(
            select(table.kind).where(table.address == address).with_for_update()
        )
        return self.supply(address)

    def add_one_time(
        self, address: DeviceAddress, kind: PrekeyKind, prekeys: Sequence[Prekey], room: int
    ) -> None:
        """Add up to ``room`` one-time prekeys; an id that was ever used is left as it is."""
        used = self._used(address, kind, [prekey.id for prekey in prekeys])
        rows = [
            {
                "address": address,
                "kind": kind,
                "key_id": prekey.id,
                "signed_at": prekey.signed_at,
                "record": prekey.record,
            }
            for prekey in prekeys
            if prekey.id not in used
        ][:room]
        if rows:
            self._connection.execute(insert(ONE_TIME_PREKEYS), rows)

    def _used(self, address: DeviceAddress, kind: PrekeyKind, ids: Sequence[int]) -> set[int]:
        # In this order: a key that is handed out meanwhile moves from the first to the second.
        queries = [
            select(table.c.key_id).where(
                table.c.address == address, table.c.kind == kind, table.c.key_id.in_(ids)
            )
            for table in (ONE_TIME_PREKEYS, SPENT_PREKEYS)
        ]
        return {row[0] for query in queries for row in self._connection.execute(query)}

    def take_one_time(
        self, address: DeviceAddress, kinds: Sequence[PrekeyKind]
    ) -> Mapping[PrekeyKind, Prekey]:
        """Remove one one-time prekey of each kind for ever and return those that there were."""
        if not kinds:
            return {}
        taken = self._connection.execute(_taking(tuple(kinds)), {"owner": address}).all()
        if taken:
            # The primary key of this table is the second lock: an id spent before ends here.
            self._connection.execute(
                insert(SPENT_PREKEYS),
                [{"address": address, "kind": row.kind, "key_id": row.key_id} for row in taken],
            )
        return {
            PrekeyKind(row.kind): Prekey(row.key_id, row.signed_at, row.record) for row in taken
        }

    def counts(self, address: DeviceAddress) -> PoolCounts:
        """Return how many one-time prekeys of each kind are left."""
        table = ONE_TIME_PREKEYS.c
        rows = self._connection.execute(
            select(table.kind, func.count()).where(table.address == address).group_by(table.kind)
        )
        found = {row[0]: row[1] for row in rows}
        return PoolCounts(found.get(PrekeyKind.ONE_TIME, 0), found.get(PrekeyKind.ONE_TIME_KEM, 0))
