"""Token buckets in SQL: read without a lock, taken from by one statement before the commit."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final

from sqlalchemy import (
    BigInteger,
    Connection,
    String,
    TextClause,
    bindparam,
    delete,
    select,
    text,
    update,
)

from keydir.errors import DirectoryBusyError
from keydir.records import Token
from keydir.stores.schema import BUCKETS

_FIND: Final = select(BUCKETS.c.key, BUCKETS.c.full_at).where(
    BUCKETS.c.key.in_(bindparam("keys", expanding=True))
)

_START: Final = "excluded.full_at - excluded.step"
_FULL_AT: Final = (
    f"CASE WHEN buckets.full_at > {_START} THEN buckets.full_at ELSE {_START} END + excluded.step"
)


@cache
def _taking(count: int) -> TextClause:
    """Return the statement that takes so many tokens; both databases know these words.

    As text, because SQLAlchemy compiles an insert of several rows anew each time.
    """
    rows = ", ".join(f"(:key{n}, :at{n}, :step{n}, :most{n})" for n in range(count))
    return text(
        f"INSERT INTO buckets (key, full_at, step, most) VALUES {rows}"  # noqa: S608 - no values
        f" ON CONFLICT (key) DO UPDATE SET full_at = {_FULL_AT}, step = excluded.step,"
        f" most = excluded.most WHERE {_FULL_AT} <= excluded.most RETURNING key"
    ).bindparams(
        *(bindparam(f"key{n}", type_=String) for n in range(count)),
        *(
            bindparam(f"{name}{n}", type_=BigInteger)
            for name in ("at", "step", "most")
            for n in range(count)
        ),
    )


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
            rows = self._connection.execute(_FIND, {"keys": missing})
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
        values = {
            f"{name}{number}": value
            for number, (key, now, step, most) in enumerate(sorted(self._taken))
            for name, value in (("key", key), ("at", now + step), ("step", step), ("most", most))
        }
        taken = self._connection.execute(_taking(len(self._taken)), values).all()
        if len(taken) != len(self._taken):
            raise DirectoryBusyError("a limit was reached meanwhile; nothing was changed")
        self._taken.clear()

    def forget_full(self, now: int) -> None:
        """Forget every bucket that is full again."""
        self._connection.execute(delete(BUCKETS).where(BUCKETS.c.full_at <= now))
