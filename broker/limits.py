"""Every bound of the embedded broker; each is a setting, its default a reason."""

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from client_sdk.wire.limits import MAX_PACKET_BYTES

KIB: Final = 1024
MIB: Final = 1024 * KIB

MAX_PACKET_IDS: Final = 65_535
"""MQTT 3.1.1 numbers unacknowledged packets with 16 bits; 0 is none."""


class BrokerLimits(BaseModel):
    """What one broker allows its clients, in the unit that each name ends with.

    Attributes:
        max_connections: Open sockets, those that have not logged in yet included.
        max_waiting_logins: Open sockets without a login; the oldest is closed for a newer one.
        connect_seconds: From the open socket to the end of its login.
        max_packet_bytes: One MQTT packet, its header included.
        max_topic_bytes: One topic or filter in UTF-8.
        max_topic_levels: Levels of one topic or filter.
        max_filters: Subscriptions of one connection.
        max_inflight: Deliveries at QoS 1 or 2 that a client has not acknowledged yet.
        max_queue_messages: Messages that wait for one slow or absent client beyond those.
        max_queue_bytes: Their bytes, and bytes that wait for its socket.
        max_sessions: Persistent sessions of absent clients.
        max_pair_messages: Waiting messages of one sender for one recipient.
        max_pair_bytes: Their payload bytes.
        max_waiting_bytes: Payload bytes of all waiting messages together.
        max_age_seconds: A message that waited longer is dropped: its sender has called it expired.
        login_failures: Wrong logins of one name from one address in a row that are answered …
        login_failure_seconds: … and the time after which one of them is forgotten.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_connections: int = Field(default=10_000, ge=1, le=1_000_000)
    max_waiting_logins: int = Field(default=1_000, ge=1, le=100_000)
    connect_seconds: float = Field(default=10.0, gt=0, le=600)
    max_packet_bytes: int = Field(default=MAX_PACKET_BYTES, ge=KIB, le=MAX_PACKET_BYTES)
    max_topic_bytes: int = Field(default=512, ge=64, le=65_535)
    max_topic_levels: int = Field(default=8, ge=8, le=64)
    max_filters: int = Field(default=64, ge=4, le=10_000)
    max_inflight: int = Field(default=1_000, ge=1, le=MAX_PACKET_IDS - 1)
    max_queue_messages: int = Field(default=10_000, ge=1, le=1_000_000)
    max_queue_bytes: int = Field(default=8 * MIB, ge=MAX_PACKET_BYTES, le=1024 * MIB)
    max_sessions: int = Field(default=1_000, ge=1, le=1_000_000)
    max_pair_messages: int = Field(default=1_000, ge=1)
    max_pair_bytes: int = Field(default=16 * MIB, ge=MAX_PACKET_BYTES)
    max_waiting_bytes: int = Field(default=8 * 1024 * MIB, ge=MAX_PACKET_BYTES)
    max_age_seconds: int = Field(default=30 * 24 * 3600, ge=1)
    login_failures: int = Field(default=10, ge=1)
    login_failure_seconds: float = Field(default=6.0, gt=0)

    def allow_topic(self, topic_or_filter: str) -> bool:
        """Tell whether a topic or filter is within the limits of length and depth."""
        return (
            len(topic_or_filter) <= self.max_topic_bytes
            and topic_or_filter.count("/") < self.max_topic_levels
            and len(topic_or_filter.encode()) <= self.max_topic_bytes
        )
