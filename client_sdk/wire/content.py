"""Sealed content: what an envelope's ciphertext opens to. Authenticated, but still untrusted."""

from enum import IntEnum
from typing import Annotated, Final, NamedTuple

from pydantic import Field

from client_sdk.wire.codec import Codec, encode
from client_sdk.wire.errors import MalformedError, MessageTooLongError
from client_sdk.wire.ids import (
    MESSAGE_ID_BYTES,
    STREAM_ID_BYTES,
    DeviceAddress,
    MessageId,
    StreamId,
)
from client_sdk.wire.limits import (
    MAX_CONTENT_TYPE_BYTES,
    MAX_COUNTER,
    MAX_LAST_SEEN,
    MAX_PADDED_CONTENT_BYTES,
    MAX_RECEIPT_IDS,
    MAX_TEXT_BYTES,
    PADDING_BUCKETS,
)

LIST_HASH_BYTES: Final = 16
_PADDING_MARK: Final = b"\x80"


class ContentKind(IntEnum):
    """What the body of a content is."""

    MESSAGE = 1
    DELIVERED = 2
    READ = 3
    SENT_COPY = 4
    """A message that another device of the same user sent: the body names its conversation."""
    RESEND_REQUEST = 8
    """Names envelopes that did not open; see ``wire.healing``."""
    RESENT = 9
    """Answers a resend request."""
    ACCOUNT_KEY_WANTED = 10
    """Asks another manager device of the same user for the account's key."""
    ACCOUNT_KEY_GIVEN = 11
    """Answers that; see ``wire.manager_keys``."""


# The last part is 1 to MAX_DEVICE_NUMBER, spelt out so that one pattern is the whole check.
AddressField = Annotated[
    DeviceAddress,
    Field(pattern=r"^[a-z0-9][a-z0-9_]{0,31}-([1-9][0-9]?|1[01][0-9]|12[0-7])$"),
]
MessageIdField = Annotated[
    MessageId, Field(min_length=MESSAGE_ID_BYTES, max_length=MESSAGE_ID_BYTES)
]
StreamIdField = Annotated[StreamId, Field(min_length=STREAM_ID_BYTES, max_length=STREAM_ID_BYTES)]
Counter = Annotated[int, Field(ge=0, le=MAX_COUNTER)]


class SeenStream(NamedTuple):
    """The newest sequence number seen from one stream of another device."""

    device: AddressField
    stream_id: StreamIdField
    sequence: Counter


class ListMark(NamedTuple):
    """A device list as the sender knows it: its version and half of its hash."""

    version: Counter
    hash: Annotated[bytes, Field(min_length=LIST_HASH_BYTES, max_length=LIST_HASH_BYTES)]


class Content(NamedTuple):
    """One sealed content; receipts have sequence 0 and stand in no stream."""

    message_id: MessageIdField
    stream_id: StreamIdField
    sequence: Counter
    last_seen: Annotated[tuple[SeenStream, ...], Field(max_length=MAX_LAST_SEEN)]
    sent_at: Counter
    kind: Annotated[int, Field(ge=ContentKind.MESSAGE, le=ContentKind.ACCOUNT_KEY_GIVEN)]
    body: Annotated[bytes, Field(max_length=MAX_PADDED_CONTENT_BYTES)]
    sender_list: ListMark
    recipient_list: ListMark
    stream_start: Counter = 0
    """The first number of the stream that this recipient device was sent; 0 is from the start."""

    def __repr__(self) -> str:
        """Name the kind and the size; never what was written."""
        return f"Content(kind={self.kind}, body={len(self.body)} bytes)"


class MessageBody(NamedTuple):
    """The body of a message: a text, or data with a media type."""

    text: Annotated[str, Field(max_length=MAX_TEXT_BYTES)] | None
    data: Annotated[bytes, Field(max_length=MAX_TEXT_BYTES)] | None
    content_type: Annotated[str, Field(max_length=MAX_CONTENT_TYPE_BYTES)] | None
    reply_to: MessageIdField | None
    expires_at: Counter | None

    def __repr__(self) -> str:
        """Name the kind; never what was written."""
        return f"MessageBody({'text' if self.text is not None else 'data'})"


class CopyBody(NamedTuple):
    """The body of an own-device copy: to whom the message went, its number there, and itself."""

    conversation: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,31}$")]
    sequence: Counter
    message: MessageBody

    def __repr__(self) -> str:
        """Name nothing of it."""
        return "CopyBody(...)"


class ReceiptBody(NamedTuple):
    """The body of a receipt: which messages it is for."""

    message_ids: Annotated[
        tuple[MessageIdField, ...], Field(min_length=1, max_length=MAX_RECEIPT_IDS)
    ]


CONTENT: Final = Codec(Content, MAX_PADDED_CONTENT_BYTES)
MESSAGE_BODY: Final = Codec(MessageBody, MAX_PADDED_CONTENT_BYTES)
COPY_BODY: Final = Codec(CopyBody, MAX_PADDED_CONTENT_BYTES)
RECEIPT_BODY: Final = Codec(ReceiptBody, MAX_PADDED_CONTENT_BYTES)


def encode_message_body(body: MessageBody) -> bytes:
    """Return the encoding of a message's body.

    Raises:
        MessageTooLongError: Text or data is over ``MAX_TEXT_BYTES`` (60 KiB) or the media type
            over ``MAX_CONTENT_TYPE_BYTES``; nothing was queued.
        MalformedError: Not exactly one of text and data, or the text has lone surrogates.
    """
    if (body.text is None) == (body.data is None):
        raise MalformedError("a message has either text or data")
    size = len(body.data) if body.data is not None else len(_utf8(body.text or ""))
    if size > MAX_TEXT_BYTES:
        raise MessageTooLongError(
            f"the message has {size} bytes, at most {MAX_TEXT_BYTES} fit into one message; "
            "nothing was queued; send it in parts"
        )
    if body.content_type is not None and len(_utf8(body.content_type)) > MAX_CONTENT_TYPE_BYTES:
        raise MessageTooLongError(
            f"the content type is over {MAX_CONTENT_TYPE_BYTES} bytes; nothing was queued"
        )
    return encode(body)


def decode_message_body(data: bytes) -> MessageBody:
    """Return a message's body.

    Raises:
        ProtocolError: ``data`` is not one, has both or neither of text and data, or is too long.
    """
    return _checked(MESSAGE_BODY.decode(data))


def decode_copy_body(data: bytes) -> CopyBody:
    """Return the body of an own-device copy; raises as ``decode_message_body`` does."""
    copy = COPY_BODY.decode(data)
    _checked(copy.message)
    return copy


def _checked(body: MessageBody) -> MessageBody:
    try:
        encode_message_body(body)
    except MessageTooLongError as error:
        raise MalformedError("message body over its limit") from error
    return body


def pad(content: bytes) -> bytes:
    """Return ``content``, a mark and zeros, filled to the next of ``PADDING_BUCKETS``.

    Raises:
        MessageTooLongError: It does not fit into the largest bucket.
    """
    bucket = _bucket(len(content))
    if bucket is None:
        raise MessageTooLongError(
            f"{len(content)} bytes of content do not fit into {PADDING_BUCKETS[-1]}; "
            "nothing was queued; send it in parts"
        )
    return (content + _PADDING_MARK).ljust(bucket, b"\x00")


def unpad(padded: bytes) -> bytes:
    """Return what ``pad`` was given.

    Raises:
        MalformedError: ``padded`` is not what ``pad`` returns for any content.
    """
    content, mark, zeros = padded.rpartition(_PADDING_MARK)
    if not mark or zeros.strip(b"\x00") or _bucket(len(content)) != len(padded):
        raise MalformedError("content is not padded as the protocol says")
    return content


def _bucket(size: int) -> int | None:
    return next((bucket for bucket in PADDING_BUCKETS if size < bucket), None)


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise MalformedError("the text is not valid Unicode (lone surrogate)") from error
