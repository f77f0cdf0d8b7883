"""What two devices, and a device and the directory, say to each other to heal lost state."""

from typing import Annotated, Final, NamedTuple

from pydantic import Field

from client_sdk.wire.codec import Codec
from client_sdk.wire.content import Counter
from client_sdk.wire.ids import EnvelopeId
from client_sdk.wire.invitation import RandomIdField
from client_sdk.wire.limits import (
    MAX_DIRECTORY_BYTES,
    MAX_PADDED_CONTENT_BYTES,
    MAX_RESEND_IDS,
)

ENVELOPE_DIGEST_BYTES: Final = 8
SESSION_TAG_BYTES: Final = 8
OPEN_ID_BYTES: Final = 16

EnvelopeIdField = Annotated[EnvelopeId, RandomIdField]


class LostEnvelope(NamedTuple):
    """An envelope that did not open: its id and the first 8 bytes of its SHA-256."""

    envelope_id: EnvelopeIdField
    digest: Annotated[
        bytes, Field(min_length=ENVELOPE_DIGEST_BYTES, max_length=ENVELOPE_DIGEST_BYTES)
    ]


class ResendRequest(NamedTuple):
    """The body of a resend request: what did not open, and the sessions it was sealed in."""

    envelopes: Annotated[tuple[LostEnvelope, ...], Field(min_length=1, max_length=MAX_RESEND_IDS)]
    session_tags: Annotated[
        tuple[
            Annotated[bytes, Field(min_length=SESSION_TAG_BYTES, max_length=SESSION_TAG_BYTES)],
            ...,
        ],
        Field(min_length=1, max_length=MAX_RESEND_IDS),
    ]


class Resent(NamedTuple):
    """The body of its answer: envelopes that need not be kept, sealed anew or given up alike."""

    envelope_ids: Annotated[
        tuple[EnvelopeIdField, ...], Field(min_length=1, max_length=MAX_RESEND_IDS)
    ]


class StoreCounters(NamedTuple):
    """How often a store was opened and written, as its device reports it.

    ``open_id`` is drawn at each opening: two copies of one store never share it.
    """

    opens: Counter
    commits: Counter
    open_id: Annotated[bytes, Field(min_length=OPEN_ID_BYTES, max_length=OPEN_ID_BYTES)]


class CountersReply(NamedTuple):
    """What the directory had of the device before this report; None for the first one."""

    before: StoreCounters | None


RESEND_REQUEST: Final = Codec(ResendRequest, MAX_PADDED_CONTENT_BYTES)
RESENT: Final = Codec(Resent, MAX_PADDED_CONTENT_BYTES)
STORE_COUNTERS: Final = Codec(StoreCounters, MAX_DIRECTORY_BYTES)
COUNTERS_REPLY: Final = Codec(CountersReply, MAX_DIRECTORY_BYTES)
