"""Token buckets in SQL: read without a lock, taken from by one statement before the commit."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, case, delete, select, update

from keydir.errors import DirectoryBusyError
from keydir.records import Token
from keydir.stores.schema import BUCKETS
from keydir.stores.upsert import upsert


class SqlBuckets:
    """Buckets of one transaction, see ``Buckets``."""

    def __init__(self, connection: Connection) -> None:
        """Use the caller's open transaction."""
        self._connection = connection
        self._found: dict[str, int] = {}
        self._taken: list[Token] = []

    def find(self, keys: Sequence[str]) -> Mapping[str, int]:
        """Return when each bucket will be full; each is read once."""
        missing = [key for key in keys if key not in self._found]
        if missing:
            rows = self._connection.execute(
                select(BUCKETS.c.key, BUCKETS.c.full_at).where(BUCKETS.c.key.in_(missing))
            )
            self._found |= dict.fromkeys(missing, 0) | {row.key: row.full_at for row in rows}
        return {key: self._found[key] for key in keys}

    def take(self, tokens: Sequence[Token]) -> None:
        """Take tokens with the commit."""
        self._taken += tokens

    def lower(self, key: str, full_at: int) -> None:
        """Have a bucket be full at this time, and not later."""
        self._connection.execute(
            update(BUCKETS)
            .where(BUCKETS.c.key == key, BUCKETS.c.full_at > full_at)
            .values(full_at=full_at)
        )

    def flush(self) -> None:
        """Take what was to be taken; called before the commit, so that nobody waits long.

        Raises:
            DirectoryBusyError: Others have emptied a bucket since it was read.
        """
        if not self._taken:
            return
        new = upsert(self._connection, BUCKETS).values(
            [
                {"key": key, "full_at": now + step, "step": step, "most": most}
                for key, now, step, most in sorted(self._taken)
            ]
        )
        put, there = new.excluded, BUCKETS.c.full_at
        now = put.full_at - put.step
        full_at = case((there > now, there), else_=now) + put.step
        taken = self._connection.execute(
            new.on_conflict_do_update(
                index_elements=["key"],
                set_={"full_at": full_at, "step": put.step, "most": put.most},
                where=full_at <= put.most,
            ).returning(BUCKETS.c.key)
        ).all()
        if len(taken) != len(self._taken):
            raise DirectoryBusyError("a limit was reached meanwhile; nothing was changed")
        self._taken.clear()

    def forget_full(self, now: int) -> None:
        """Forget every bucket that is full again."""
        self._connection.execute(delete(BUCKETS).where(BUCKETS.c.full_at <= now))
