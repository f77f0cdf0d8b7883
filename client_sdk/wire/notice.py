"""What a broker tells a device beside its mail: that it did not take a message."""

from enum import IntEnum
from typing import Annotated, Final, NamedTuple

from pydantic import Field

from client_sdk.wire.codec import Codec

MAX_NOTICE_BYTES: Final = 1024
_MAX_TOPIC_CHARACTERS: Final = 512
_VERSION: Final = 1


class NoticeReason(IntEnum):
    """Why a message was not taken; its sender keeps it and tries again later."""

    OVER_QUOTA = 1
    """As much as one sender may have waiting for this recipient waits already."""
    BROKER_FULL = 2
    """As much as the broker may hold waits already."""


class Notice(NamedTuple):
    """One message that the broker did not take and does not acknowledge.

    It is not authenticated beyond the broker's word: it can delay a message, nothing more.
    """

    version: Annotated[int, Field(ge=_VERSION, le=_VERSION)]
    reason: Annotated[int, Field(ge=NoticeReason.OVER_QUOTA, le=NoticeReason.BROKER_FULL)]
    topic: Annotated[str, Field(min_length=1, max_length=_MAX_TOPIC_CHARACTERS)]


NOTICE: Final = Codec(Notice, MAX_NOTICE_BYTES)


def notice(reason: NoticeReason, topic: str) -> Notice:
    """Return the notice of the present version about a message under ``topic``."""
    return Notice(_VERSION, int(reason), topic)
