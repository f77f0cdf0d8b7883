"""What one client is owed: deliveries in flight, and a bounded queue behind them."""

from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple

from broker.acl import Publication
from broker.limits import MAX_PACKET_IDS, BrokerLimits
from broker.packets import PUBREL, Publish, encode_ack, encode_publish

_OVERHEAD_BYTES: Final = 64


class _InFlight(NamedTuple):
    """A delivery that is not acknowledged; ``None`` once its PUBREC came and PUBREL went out."""

    message: Publish | None


class Outbound:
    """Deliveries at QoS 1 and 2 of one client; they outlive its connection where it wants that.

    Order is kept: while anything is queued, everything is.

    Source: MQTT 3.1.1, 4.3, 4.4, 4.6.
    """

    def __init__(self, limits: BrokerLimits) -> None:
        """Start with nothing owed."""
        self._limits = limits
        self._in_flight: dict[int, _InFlight] = {}
        self._in_flight_bytes = 0
        self._queue: deque[Publication] = deque()
        self._queued_bytes = 0
        self._last_id = 0

    def __len__(self) -> int:
        """Return how many deliveries are in flight or queued."""
        return len(self._in_flight) + len(self._queue)

    @property
    def in_flight(self) -> int:
        """How many deliveries the client has not acknowledged."""
        return len(self._in_flight)

    @property
    def queued(self) -> int:
        """How many messages wait for those to be acknowledged."""
        return len(self._queue)

    def enqueue(self, message: Publication) -> bool:
        """Queue a message; False where the queue is full and nothing was kept."""
        size = _size(message)
        if (
            len(self._queue) >= self._limits.max_queue_messages
            or self._queued_bytes + size > self._limits.max_queue_bytes
        ):
            return False
        self._queue.append(message)
        self._queued_bytes += size
        return True

    @property
    def may_send(self) -> bool:
        """Whether one more delivery fits into the window, by count and by bytes."""
        return (
            len(self._in_flight) < self._limits.max_inflight
            and self._in_flight_bytes < self._limits.max_queue_bytes
        )

    def send(self, message: Publication) -> bytes:
        """Put a message at QoS 1 or 2 in flight; the window has to have room for it."""
        number = self._next_id()
        packet = Publish(message.topic, message.payload, message.qos, message.retain, number)
        self._in_flight[number] = _InFlight(packet)
        self._in_flight_bytes += len(message.payload)
        return encode_publish(packet)

    def pump(self) -> Iterator[bytes]:
        """Put queued messages in flight as far as the window has room."""
        while self._queue and self.may_send:
            message = self._queue.popleft()
            self._queued_bytes -= _size(message)
            if message.qos:
                yield self.send(message)
            else:
                yield encode_publish(Publish(message.topic, message.payload, 0, message.retain, 0))

    def acknowledged(self, packet_id: int) -> None:
        """Note a PUBACK or PUBCOMP; unknown ids change nothing."""
        self._released(self._in_flight.pop(packet_id, None))

    def received(self, packet_id: int) -> bytes:
        """Note a PUBREC; return the PUBREL that answers it, also where the id is unknown."""
        if packet_id in self._in_flight:
            self._released(self._in_flight[packet_id])
            self._in_flight[packet_id] = _InFlight(None)
        return encode_ack(PUBREL, packet_id)

    def again(self) -> Iterator[bytes]:
        """Yield what is in flight, in order, for a client that came back."""
        for number, one in self._in_flight.items():
            if one.message is None:
                yield encode_ack(PUBREL, number)
            else:
                yield encode_publish(one.message, dup=True)

    def _released(self, one: _InFlight | None) -> None:
        if one is not None and one.message is not None:
            self._in_flight_bytes -= len(one.message.payload)

    def _next_id(self) -> int:
        while True:
            self._last_id = self._last_id % MAX_PACKET_IDS + 1
            if self._last_id not in self._in_flight:
                return self._last_id


def _size(message: Publication) -> int:
    return len(message.payload) + len(message.topic) + _OVERHEAD_BYTES
