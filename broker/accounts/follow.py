"""Every change of a login in the directory's database, told to the broker."""

import asyncio
import time
from collections.abc import Mapping
from typing import Final

from broker.accounts.ports import Accounts, StoredLogins
from broker.logs import get_logger
from client_sdk.wire.errors import OperationalError
from keydir.stores.credentials import StoredLogin

POLL_SECONDS: Final = 0.05
"""How often the database is asked for its revision, which costs microseconds."""

SETTLE_SECONDS: Final = 1.0
"""Changes within this time are told together: each telling has a price on some brokers."""

LOOK_SECONDS: Final = 60.0
"""How often all logins are compared: one that expires changes no revision."""

_log = get_logger(__name__)


class Follower:
    """Tells a broker's ``Accounts`` what differs from what they were told before."""

    def __init__(self, stored: StoredLogins, accounts: Accounts, told: asyncio.Event) -> None:
        """Begin with a broker that is taken to know no login.

        Args:
            stored: The directory's table.
            accounts: The broker's.
            told: Set when the broker knew all logins for the first time.
        """
        self._stored = stored
        self._accounts = accounts
        self._known: dict[str, StoredLogin] = {}
        self._revision: int | None = None
        self._looked = 0.0
        self._told = told

    async def run(self) -> None:
        """Follow until cancelled; a database or broker that fails for a while is tried again."""
        while True:
            try:
                changed = await self.step()
            except OperationalError as error:
                _log.warning("accounts were not updated", reason=str(error))
                self._revision = None
                changed = True
            await asyncio.sleep(SETTLE_SECONDS if changed else POLL_SECONDS)

    async def step(self) -> bool:
        """Tell the broker what has changed since the last step; False where nothing has.

        Raises:
            OperationalError: The database cannot be read or the broker not told; the next step
                tells it again.
        """
        revision = await asyncio.to_thread(self._stored.revision)
        now = time.monotonic()
        if revision == self._revision and now < self._looked + LOOK_SECONDS:
            return False
        found = await asyncio.to_thread(self._stored.logins)
        changed = await self._tell(found)
        await self._accounts.settle()
        self._known, self._revision, self._looked = dict(found), revision, now
        self._told.set()
        return changed

    async def _tell(self, found: Mapping[str, StoredLogin]) -> bool:
        revoked = self._known.keys() - found.keys()
        for login in revoked:
            await self._accounts.revoke(login)
        put = [login for login, stored in found.items() if self._known.get(login) != stored]
        for login in put:
            await self._accounts.put(login, found[login])
        return bool(revoked or put)
