"""Requests that wait for the directory: few of each sender, each sender in turn, one at a time."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from client_sdk.transport.ports import Incoming
from client_sdk.wire import topics
from client_sdk.wire.errors import MalformedError
from client_sdk.wire.limits import MAX_DIRECTORY_BYTES
from keydir.desk import steady_ms
from keydir.limits import ARRIVAL_LIMIT
from keydir.throttle import Charge, Throttle

MAX_WAITING_OF_ONE: Final = 8
"""Requests of one device or under one invitation; an honest device has one or two on their way."""

MAX_WAITING_BYTES_OF_ONE: Final = 4 * MAX_DIRECTORY_BYTES
"""Their payloads: only uploads of prekeys are near the largest size."""

MAX_WAITING: Final = 4096
"""Requests of everybody together: some 15 seconds of work."""

MAX_WAITING_BYTES: Final = 64 * MAX_WAITING_BYTES_OF_ONE
"""Payloads of everybody together."""

REQUESTS_PREFIX: Final = topics.DIRECTORY_REQUESTS.partition("+")[0]
ENROLLMENTS_PREFIX: Final = topics.ENROLLMENT_REQUESTS.partition("+")[0]


class Waiting:
    """What was read and not yet looked into; the sender is the one that the topic names.

    The broker lets a login publish under its own topics only, so nobody fills another's place.
    """

    def __init__(self, steady: Callable[[], int] = steady_ms) -> None:
        """Begin empty.

        Args:
            steady: Milliseconds of a clock that never goes back.
        """
        self._steady = steady
        self._throttle = Throttle()
        self._queues: OrderedDict[str, deque[Incoming]] = OrderedDict()
        self._behind: dict[str, deque[Incoming]] = {}
        self._bytes_of: dict[str, int] = {}
        self._some = asyncio.Event()
        self.count = 0
        """Requests that wait now."""
        self.size = 0
        """Bytes of their payloads."""

    def add(self, message: Incoming) -> bool:
        """Keep a request until its turn; False: there is no room or it came too soon, drop it."""
        size = len(message.payload)
        try:
            sender = sender_of(message.topic)
        except MalformedError:
            return False
        if size > MAX_DIRECTORY_BYTES or not self._has_room(sender, size):
            return False
        if not self._throttle.allow(self._steady(), Charge(ARRIVAL_LIMIT, sender)):
            return False
        if sender in self._behind:
            self._behind[sender].append(message)
        else:
            self._queues.setdefault(sender, deque()).append(message)
            self._some.set()
        self._bytes_of[sender] = self._bytes_of.get(sender, 0) + size
        self.count += 1
        self.size += size
        return True

    async def take(self) -> Incoming:
        """Wait for a request and remove it: the oldest of the sender whose turn it is.

        What else its sender has waiting stays until ``done``: requests of one device are answered
        in their order, however many are looked into at one time.
        """
        while not self._queues:
            self._some.clear()
            await self._some.wait()
        sender, queue = self._queues.popitem(last=False)
        message = queue.popleft()
        size = len(message.payload)
        self._bytes_of[sender] -= size
        self.count -= 1
        self.size -= size
        self._behind[sender] = queue
        return message

    def done(self, message: Incoming) -> None:
        """Let the next request of the sender of a message that was taken have its turn."""
        sender = sender_of(message.topic)
        queue = self._behind.pop(sender)
        if queue:
            self._queues[sender] = queue
            self._some.set()
        else:
            del self._bytes_of[sender]

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is being looked into."""
        return not self._queues and not self._behind

    def _has_room(self, sender: str, size: int) -> bool:
        return (
            len(self._queues.get(sender) or self._behind.get(sender) or ()) < MAX_WAITING_OF_ONE
            and self._bytes_of.get(sender, 0) + size <= MAX_WAITING_BYTES_OF_ONE
            and self.count < MAX_WAITING
            and self.size + size <= MAX_WAITING_BYTES
        )


def sender_of(topic: str) -> str:
    """Return who published a request: a device, or the holder of an invitation.

    Raises:
        MalformedError: It is no topic of requests.
    """
    if topic.startswith(ENROLLMENTS_PREFIX):
        return f"enroll {topics.parse_enroll(topic)}"
    return topics.parse_request(topic).device
