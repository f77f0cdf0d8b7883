"""Following device lists: one's own at each connection, others' when somebody knows a newer one."""

import asyncio
import logging
import time
from typing import Final

from client_sdk.delivery.context import Context
from client_sdk.delivery.errors import NotContactError
from client_sdk.machine.devices import Gossip, compare_mark
from client_sdk.machine.errors import IdentityChangedError
from client_sdk.machine.events import IdentityChanged
from client_sdk.machine.received import Opened
from client_sdk.machine.state import PeerState
from client_sdk.stores.errors import StaleSnapshotError, StoreError
from client_sdk.wire.errors import OperationalError, ProtocolError
from client_sdk.wire.ids import UserName

REFRESH_SECONDS: Final = 60.0
"""How often one user's list is fetched because a peer claims to know a newer one."""

MAX_CLAIMS: Final = 4
"""Different newer versions of one user that are asked for in ``REFRESH_SECONDS``."""

_logger = logging.getLogger(__name__)


class ListWatch:
    """Compares the lists that sealed content names with the known ones."""

    def __init__(self, context: Context) -> None:
        """Start with nothing fetched."""
        self._context = context
        self._asked: dict[tuple[UserName, int], float] = {}

    async def heard(self, state: PeerState, opened: list[Opened]) -> None:
        """Look at what opened contents say of the sender's list and of one's own."""
        own, claimed = self._context.own, state.user
        for one in opened:
            theirs = (
                Gossip.NOTHING
                if state.device_list is None
                else compare_mark(state.device_list, one.content.sender_list)
            )
            ours = compare_mark(own.record.device_list, one.content.recipient_list)
            if theirs is Gossip.OTHER:
                await self._context.peers.stop_sending(claimed)
            if ours is Gossip.OTHER:
                await self._context.peers.stop_sending(own.user)
            if theirs is Gossip.NEWER:
                self._fetch(claimed, one.content.sender_list.version)
            if ours is Gossip.NEWER:
                self._fetch(own.user, one.content.recipient_list.version)

    async def loop(self) -> None:
        """Fetch what is said to be newer, until cancelled; one's own list first of all."""
        self._context.stale_lists.put_nowait(self._context.own.user)
        while True:
            await self.next()

    async def next(self) -> None:
        """Wait for one user whose list is said to be newer, and fetch it."""
        user = await self._context.stale_lists.get()
        try:
            await self._context.peers.refresh(user)
        except StaleSnapshotError:
            self._context.stale_lists.put_nowait(user)
            await asyncio.sleep(0)
        except StoreError:
            raise
        except IdentityChangedError:
            if user == self._context.own.user:  # of others, adopting tells it
                self._context.events.emit([IdentityChanged(user)])
        except (OperationalError, ProtocolError, NotContactError) as error:
            _logger.info("a device list cannot be followed now: %s", error.code)

    def _fetch(self, user: UserName, version: int) -> None:
        """Ask once for each version that is named, and for a false one not again and again."""
        now = time.monotonic()
        if now < self._asked.get((user, version), 0.0):
            return
        recent = sum(1 for (name, _), until in self._asked.items() if name == user and now < until)
        if recent < MAX_CLAIMS:
            self._asked = {key: until for key, until in self._asked.items() if now < until}
            self._asked[user, version] = now + REFRESH_SECONDS
            self._context.stale_lists.put_nowait(user)
