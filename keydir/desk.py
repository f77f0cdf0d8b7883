"""What every part of the running directory shares."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from client_sdk.wire import topics
from client_sdk.wire.codec import encode
from client_sdk.wire.directory import (
    SignedReply,
    SignedRequest,
    Status,
    reply_bytes,
)
from client_sdk.wire.encoded_keys import Signature
from keydir.data import DirectoryKeys
from keydir.policy import Policy
from keydir.ports import DirectoryStore

NO_SIGNATURE = Signature(bytes(64))
"""Stands in a record until it is signed; the signed bytes leave it out."""


class Outgoing(NamedTuple):
    """One message for the broker, QoS 1."""

    topic: str
    payload: bytes
    retain: bool = False


def wall_ms() -> int:
    """Return the time in ms since 1970."""
    return time.time_ns() // 1_000_000


def steady_ms() -> int:
    """Return milliseconds of a clock that never goes back."""
    return time.monotonic_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Desk:
    """Keys, policy, store and clock of one directory."""

    keys: DirectoryKeys
    policy: Policy
    store: DirectoryStore
    wall: Callable[[], int] = wall_ms

    def reply(self, request: SignedRequest, status: Status, body: bytes) -> Outgoing:
        """Return the signed reply to a request."""
        unsigned = SignedReply(
            directory_id=self.keys.directory_id,
            device=request.device,
            request_id=request.request_id,
            nonce=request.nonce,
            answered_at=self.wall(),
            status=status,
            body=body,
            signature=NO_SIGNATURE,
        )
        signed = unsigned._replace(signature=self.keys.signing.sign(reply_bytes(unsigned)))
        return Outgoing(topics.reply(request.device, request.request_id), encode(signed))
