"""Envelopes that wait to be decided, one sender's behind the other's: a flood delays itself."""

import asyncio
from collections import deque

from client_sdk.transport.ports import Incoming


class FairQueue:
    """Senders take turns; each one's envelopes stay in the order in which they came."""

    def __init__(self) -> None:
        """Start empty."""
        self._senders: dict[str, deque[Incoming]] = {}
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        """Return how many envelopes wait."""
        return sum(len(one) for one in self._senders.values())

    def put(self, incoming: Incoming) -> None:
        """Add an envelope behind those of its sender: the topic less its last part."""
        sender = incoming.topic.rpartition("/")[0]
        self._senders.setdefault(sender, deque()).append(incoming)
        self._filled.set()

    async def take(self, limit: int) -> list[Incoming]:
        """Wait for an envelope; return up to ``limit`` of them, one of each sender in turn."""
        await self._filled.wait()
        taken: list[Incoming] = []
        while self._senders and len(taken) < limit:
            sender, waiting = next(iter(self._senders.items()))
            taken.append(waiting.popleft())
            del self._senders[sender]
            if waiting:
                self._senders[sender] = waiting  # behind the others
        if not self._senders:
            self._filled.clear()
        return taken
