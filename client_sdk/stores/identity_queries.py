"""The queries about users' identities, and about what is on its way to them."""

from client_sdk.machine.identity import Identity, UnderWay
from client_sdk.stores import rows
from client_sdk.stores.worker import Database, DatabaseWorker
from client_sdk.wire.ids import UserName


class IdentityQueries:
    """A part of ``ClientStore``, see there."""

    def __init__(self, worker: DatabaseWorker) -> None:
        """Take over a worker whose tables are up to date."""
        self._worker = worker

    async def under_way(self, user: UserName) -> UnderWay:
        """Return a user's envelopes, and the messages among them without any receipt."""
        return await self._worker.read(lambda database: _under_way(database, user))

    async def unreceipted_since(self, before: int) -> list[UserName]:
        """Return the users who owe a receipt for an envelope that was made up to ``before``."""
        return await self._worker.read(
            lambda database: [
                row[0]
                for row in database.execute(
                    "SELECT DISTINCT user FROM outbox WHERE message_id IS NOT NULL"
                    " AND created_at <= ? ORDER BY user",
                    (before,),
                )
            ]
        )

    async def identities(self) -> dict[UserName, Identity]:
        """Return the users whose identity is verified, or was and has changed."""
        return await self._worker.read(
            lambda database: {
                user: Identity.CHANGED if changed else Identity.VERIFIED
                for user, changed in database.execute(
                    "SELECT user, offered_list IS NOT NULL FROM peers"
                    " WHERE verified OR offered_list IS NOT NULL ORDER BY user"
                )
            }
        )


def _under_way(database: Database, user: UserName) -> UnderWay:
    envelopes = database.execute(
        f"SELECT {rows.OUTBOX_COLUMNS} FROM outbox WHERE user = ? ORDER BY position",  # noqa: S608 - constants
        (user,),
    ).fetchall()
    messages = database.execute(
        "SELECT message_id FROM messages WHERE conversation = ? AND outgoing"
        " AND state IN ('planned', 'published') ORDER BY position",
        (user,),
    ).fetchall()
    return UnderWay(tuple(map(rows.envelope_of, envelopes)), tuple(row[0] for row in messages))
