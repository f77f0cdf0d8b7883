"""Token buckets in SQL: read once, written once at the end of the transaction."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, delete

from keydir.stores.schema import BUCKETS
from keydir.stores.upsert import upsert


class SqlBuckets:
    """Buckets of one transaction, see ``Buckets``."""

    def __init__(self, connection: Connection) -> None:
        """Use the caller's open transaction."""
        self._connection = connection
        self._changed: dict[str, int] = {}

    def find(self, keys: Sequence[str]) -> Mapping[str, int]:
        """Return when each bucket will be full, and keep others from them until the end.

        One that is not there is made full: two replicas that need it at once wait for each other.
        """
        new = upsert(self._connection, BUCKETS).values(
            [{"key": key, "full_at": 0} for key in sorted(keys)]
        )
        found = self._connection.execute(
            new.on_conflict_do_update(
                index_elements=["key"], set_={"full_at": BUCKETS.c.full_at}
            ).returning(BUCKETS.c.key, BUCKETS.c.full_at)
        )
        return {row.key: self._changed.get(row.key, row.full_at) for row in found}

    def keep(self, full_at: Mapping[str, int]) -> None:
        """Add or replace buckets."""
        self._changed.update(full_at)

    def flush(self) -> None:
        """Write what was kept; called before the commit."""
        if not self._changed:
            return
        rows = [{"key": key, "full_at": at} for key, at in sorted(self._changed.items())]
        new = upsert(self._connection, BUCKETS).values(rows)
        self._connection.execute(
            new.on_conflict_do_update(
                index_elements=["key"], set_={"full_at": new.excluded.full_at}
            )
        )
        self._changed.clear()

    def forget_full(self, now: int) -> None:
        """Forget every bucket that is full again."""
        self._connection.execute(delete(BUCKETS).where(BUCKETS.c.full_at <= now))
