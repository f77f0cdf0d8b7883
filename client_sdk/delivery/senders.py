"""Senders that are not known yet: who the directory says they are, and whom it refuses."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from client_sdk.delivery.contacts import withdraw
from client_sdk.delivery.context import Context
from client_sdk.delivery.errors import NotContactError
from client_sdk.machine.errors import IdentityChangedError
from client_sdk.machine.received import Arrived
from client_sdk.stores.errors import StaleSnapshotError
from client_sdk.wire.errors import OperationalError, ProtocolError
from client_sdk.wire.ids import DeviceAddress, UserName, user_of
from client_sdk.wire.topics import InboxTopic

MAX_PENDING_SENDERS: Final = 64
"""Senders that are looked up at a time; mail of others stays on the broker."""

MAX_PENDING_ENVELOPES: Final = 500
"""Envelopes of one such sender that are kept in memory meanwhile."""

MAX_PENDING_BYTES: Final = 8 * 1024 * 1024
"""Envelopes of all such senders together; what does not fit comes with a later subscription."""

REMEMBERED_SECONDS: Final = 600.0
"""How long an answer of the directory about a sender is not asked for again."""

_logger = logging.getLogger(__name__)


class SenderLookup:
    """Asks the directory about a sender once, whatever number of envelopes it has sent."""

    def __init__(self, context: Context) -> None:
        """Start with nobody asked for."""
        self._context = context
        self._pending: dict[UserName, list[tuple[Arrived, bytes]]] = {}
        self._pending_bytes = 0
        self._queue: asyncio.Queue[UserName] = asyncio.Queue()
        self._refused: dict[UserName, float] = {}
        self._asked: dict[DeviceAddress, float] = {}

    def refused(self, user: UserName) -> bool:
        """Tell whether the directory said not long ago that ``user`` is no contact."""
        return time.monotonic() < self._refused.get(user, 0.0)

    def forget(self, user: UserName) -> None:
        """Ask for ``user`` again however short ago the directory was asked."""
        self._asked = {one: at for one, at in self._asked.items() if user_of(one) != user}

    def look_up(self, arrived: Arrived, payload: bytes) -> bool:
        """Keep an envelope until its sender is known; False where that was asked just before."""
        user = user_of(arrived.topic.sender)
        waiting = self._pending.get(user)
        fits = self._pending_bytes + len(payload) <= MAX_PENDING_BYTES
        if waiting is not None:
            if fits and len(waiting) < MAX_PENDING_ENVELOPES:
                waiting.append((arrived, payload))
                self._pending_bytes += len(payload)
            return True
        if time.monotonic() < self._asked.get(arrived.topic.sender, 0.0):
            return False
        if fits and len(self._pending) < MAX_PENDING_SENDERS:
            self._pending[user] = [(arrived, payload)]
            self._pending_bytes += len(payload)
            self._queue.put_nowait(user)
        return True

    async def loop(
        self,
        put_back: Callable[[Arrived, bytes], None],
        clear: Callable[[InboxTopic], None],
    ) -> None:
        """Look up senders until cancelled; their envelopes go to ``put_back`` or ``clear``."""
        self._pending.clear()
        self._pending_bytes = 0
        self._queue = asyncio.Queue()
        while True:
            await self.next(put_back, clear)

    @property
    def waiting(self) -> bool:
        """Whether somebody is still to be looked up."""
        return not self._queue.empty()

    async def next(
        self,
        put_back: Callable[[Arrived, bytes], None],
        clear: Callable[[InboxTopic], None],
    ) -> None:
        """Wait for one sender, look it up, and decide where its envelopes go; see ``loop``."""
        user = await self._queue.get()
        known = await self._fetch(user)
        for arrived, payload in self._pending.pop(user, []):
            self._pending_bytes -= len(payload)
            if known:
                self._asked[arrived.topic.sender] = time.monotonic() + REMEMBERED_SECONDS
                put_back(arrived, payload)
            elif known is False:
                clear(arrived.topic)

    async def _fetch(self, user: UserName) -> bool | None:
        """Return True where the sender is known now, False where refused, None to ask later."""
        context = self._context
        try:
            await context.peers.refresh(user)
        except NotContactError:
            self._refused[user] = time.monotonic() + REMEMBERED_SECONDS
            await withdraw(context, user)
            return False
        except IdentityChangedError as error:
            _logger.info("mail is left on the broker: %s", error.code)
        except ProtocolError as error:
            _logger.warning("the directory's keys of a sender were refused: %s", error.code)
        except StaleSnapshotError:
            return True
        except OperationalError as error:
            _logger.info("a sender cannot be looked up now: %s", error.code)
        else:
            return True
        return None
