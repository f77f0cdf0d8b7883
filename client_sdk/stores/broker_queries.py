"""The queries about a device's broker: the CA that it pinned, the address that answered last."""

from client_sdk.stores.worker import DatabaseWorker


class BrokerQueries:
    """A part of ``ClientStore``, see there."""

    def __init__(self, worker: DatabaseWorker) -> None:
        """Take over a worker whose tables are up to date."""
        self._worker = worker

    async def pinned_ca(self) -> bytes | None:
        """Return the certificate of the pinned CA."""
        return await self._worker.read(
            lambda database: next(
                (row[0] for row in database.execute("SELECT certificate FROM pinned_ca")), None
            )
        )

    async def keep_pinned_ca(self, certificate: bytes) -> None:
        """Keep the certificate of the pinned CA."""
        await self._worker.write(
            lambda database: database.execute(
                "INSERT OR REPLACE INTO pinned_ca VALUES (1, ?)", (certificate,)
            )
        )

    async def last_broker(self) -> str | None:
        """Return the address that the last connection was made to."""
        return await self._worker.read(
            lambda database: next(
                (row[0] for row in database.execute("SELECT url FROM last_broker")), None
            )
        )

    async def keep_last_broker(self, url: str) -> None:
        """Keep the address of a connection that was made."""
        await self._worker.write(
            lambda database: database.execute(
                "INSERT OR REPLACE INTO last_broker VALUES (1, ?)", (url,)
            )
        )
