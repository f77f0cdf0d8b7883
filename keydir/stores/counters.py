"""What devices report of their stores, in SQL."""

from sqlalchemy import Connection, delete, insert, select

from client_sdk.wire.healing import StoreCounters
from client_sdk.wire.ids import DeviceAddress
from keydir.stores.schema import STORE_COUNTERS


class SqlCounters:
    """Reports of stores of one transaction, see ``Counters``."""

    def __init__(self, connection: Connection) -> None:
        """Use the caller's open transaction."""
        self._connection = connection

    def find(self, address: DeviceAddress) -> StoreCounters | None:
        """Return the highest report of a device."""
        row = self._connection.execute(
            select(STORE_COUNTERS).where(STORE_COUNTERS.c.address == address)
        ).first()
        return None if row is None else StoreCounters(row.opens, row.commits, row.open_id)

    def keep(self, address: DeviceAddress, counters: StoreCounters) -> None:
        """Add or replace a device's report."""
        self._connection.execute(delete(STORE_COUNTERS).where(STORE_COUNTERS.c.address == address))
        self._connection.execute(
            insert(STORE_COUNTERS).values(address=address, **counters._asdict())
        )
