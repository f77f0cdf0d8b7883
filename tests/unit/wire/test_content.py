"""Padding hides sizes, bodies are one thing only, and no repr shows what was written."""

import pytest

from client_sdk.wire import content
from client_sdk.wire.codec import encode
from client_sdk.wire.content import ContentKind, MessageBody, pad, unpad
from client_sdk.wire.errors import MalformedError, MessageTooLongError, ProtocolError
from client_sdk.wire.limits import PADDING_BUCKETS
from tests.unit.wire.samples import CONTENT_SAMPLE


def _padded(text: str) -> bytes:
    body = content.encode_message_body(MessageBody(text, None, None, None, None))
    return pad(encode(CONTENT_SAMPLE._replace(body=body)))


def test_a20_yes_and_no_and_a_longer_answer_have_one_size() -> None:
    assert len(_padded("yes")) == len(_padded("no")) == len(_padded("not before Thursday"))


def test_a20_a_text_that_repeats_itself_is_not_made_shorter() -> None:
    assert len(_padded("a" * 3000)) == 4096


@pytest.mark.parametrize("bucket", PADDING_BUCKETS)
def test_padding_fills_a_bucket_to_its_last_byte(bucket: int) -> None:
    for size in (bucket - 1, bucket - 2):
        assert len(pad(b"x" * size)) == bucket
        assert unpad(pad(b"x" * size)) == b"x" * size


@pytest.mark.parametrize("bucket", PADDING_BUCKETS[:-1])
def test_padding_goes_to_the_next_bucket_where_one_is_full(bucket: int) -> None:
    following = PADDING_BUCKETS[PADDING_BUCKETS.index(bucket) + 1]
    assert len(pad(b"x" * bucket)) == following


@pytest.mark.parametrize(
    "padded",
    [
        b"",
        b"\x80",
        bytes(256),
        b"x" * 256,
        pad(b"hello")[:-1],
        pad(b"hello") + b"\x00",
        pad(b"hello")[:-1] + b"\x01",
        pad(b"hello").replace(b"\x80", b"\x81"),
        b"hello\x80".ljust(1024, b"\x00"),
        b"hello\x80".ljust(512, b"\x00"),
        b"x" * 70_000 + b"\x80",
        (b"x" * 65_536 + b"\x80").ljust(131_072, b"\x00"),
    ],
    ids=[
        "empty",
        "mark only",
        "zeros only",
        "no mark",
        "short",
        "long",
        "not zero",
        "other mark",
        "a larger bucket than needed",
        "no bucket",
        "over every bucket",
        "twice the largest bucket",
    ],
)
def test_unpad_refuses_what_pad_does_not_make(padded: bytes) -> None:
    with pytest.raises(MalformedError):
        unpad(padded)


def test_content_that_ends_like_padding_comes_back_whole() -> None:
    for tricky in (b"", b"\x80", b"\x80\x00\x00", b"x\x80", b"\x00" * 255):
        assert unpad(pad(tricky)) == tricky


@pytest.mark.parametrize(
    ("text", "data"), [(None, None), ("both", b"both")], ids=["neither", "both"]
)
def test_a_body_has_either_text_or_data(text: str | None, data: bytes | None) -> None:
    body = MessageBody(text, data, None, None, None)
    with pytest.raises(MalformedError):
        content.encode_message_body(body)
    with pytest.raises(MalformedError):
        content.decode_message_body(encode(body))


def test_an_empty_text_and_empty_data_are_messages() -> None:
    for body in (MessageBody("", None, None, None, None), MessageBody(None, b"", "", None, None)):
        assert content.decode_message_body(content.encode_message_body(body)) == body


def test_a_lone_surrogate_is_refused_before_anything_is_queued() -> None:
    with pytest.raises(MalformedError, match="surrogate"):
        content.encode_message_body(MessageBody("\ud800", None, None, None, None))
    with pytest.raises(MalformedError, match="surrogate"):
        content.encode_message_body(MessageBody("x", None, "\udfff", None, None))


def test_an_unknown_kind_of_content_is_refused() -> None:
    for kind in ContentKind:
        assert content.CONTENT.decode(encode(CONTENT_SAMPLE._replace(kind=kind))).kind == kind
    for kind in (0, max(ContentKind) + 1):
        with pytest.raises(ProtocolError):
            content.CONTENT.decode(encode(CONTENT_SAMPLE._replace(kind=kind)))


def test_no_repr_shows_what_was_written() -> None:
    assert repr(MessageBody("secret", None, None, None, None)) == "MessageBody(text)"
    assert repr(MessageBody(None, b"secret", None, None, None)) == "MessageBody(data)"
    shown = repr(CONTENT_SAMPLE._replace(body=b"secret"))
    assert shown == "Content(kind=1, body=6 bytes)"


def test_a_text_too_long_says_how_long_it_may_be() -> None:
    with pytest.raises(MessageTooLongError, match=r"70000 bytes, at most 61440"):
        content.encode_message_body(MessageBody("x" * 70_000, None, None, None, None))
