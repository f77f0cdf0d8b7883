"""What delivery and the key directory need of a connection."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol


class Incoming(NamedTuple):
    """One message as it came from the broker; nothing of it is trusted yet."""

    topic: str
    payload: bytes
    retained: bool


class Connection(Protocol):
    """One live connection with a clean MQTT session."""

    async def subscribe(self, *filters: str) -> None:
        """Subscribe; retained messages are handed over again each time.

        Raises:
            SubscriptionRefusedError: The broker refused one of them.
            ConnectionLostError: No answer came.
        """
        ...

    async def unsubscribe(self, *filters: str) -> None:
        """End subscriptions; one that was not there is no error.

        Raises:
            ConnectionLostError: No answer came.
        """
        ...

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish at QoS 1 and return at the broker's acknowledgement.

        Raises:
            ConnectionLostError: No acknowledgement came; the message may have arrived.
        """
        ...

    def incoming(self) -> AsyncIterator[Incoming]:
        """Yield what arrives, in order; raises ConnectionLostError when the connection ends.

        It is a BrokerSilentError where the broker had stopped to answer before.
        """
        ...


class Transport(Protocol):
    """The way to one broker under one login."""

    def connect(self) -> AbstractAsyncContextManager[Connection]:
        """Open one connection; closed when the context is left.

        Raises:
            BrokerUnreachableError: No broker answered.
            LoginRefusedError: The broker refused the login.
        """
        ...
