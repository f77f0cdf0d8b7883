"""Who answers on one broker, in SQL."""

from collections.abc import Mapping

from sqlalchemy import Connection, delete, select

from keydir.stores.schema import REPLICAS
from keydir.stores.upsert import upsert


class SqlReplicas:
    """Replicas of one transaction, see ``Replicas``."""

    def __init__(self, connection: Connection) -> None:
        """Use the caller's open transaction."""
        self._connection = connection

    def beats(self) -> Mapping[str, int]:
        """Return the newest beat of every replica that did not leave."""
        return {row.name: row.beat for row in self._connection.execute(select(REPLICAS))}

    def beat(self, name: str, number: int) -> None:
        """Record that a replica answers requests."""
        new = upsert(self._connection.dialect.name, REPLICAS).values(name=name, beat=number)
        self._connection.execute(
            new.on_conflict_do_update(index_elements=["name"], set_={"beat": number})
        )

    def leave(self, name: str) -> None:
        """Forget a replica."""
        self._connection.execute(delete(REPLICAS).where(REPLICAS.c.name == name))
