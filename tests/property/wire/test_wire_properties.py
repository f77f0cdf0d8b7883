"""What holds for all records, all bytes, all texts and all topics."""

from typing import Any

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from client_sdk.wire import content, ids, invitation, topics
from client_sdk.wire.codec import encode
from client_sdk.wire.errors import (
    InvalidInvitationError,
    InvalidNameError,
    MalformedError,
    ProtocolError,
)
from client_sdk.wire.ids import DeviceAddress, EnvelopeId, EventId, InvitationId, RequestId
from client_sdk.wire.limits import PADDING_BUCKETS
from tests.property.wire.strategies import any_record, records
from tests.unit.wire.samples import INVITATION, RECORDS

ADDRESSES = st.from_regex(
    r"[a-z0-9][a-z0-9_]{0,31}-([1-9][0-9]?|1[01][0-9]|12[0-7])", fullmatch=True
).map(DeviceAddress)
IDS = st.binary(min_size=16, max_size=16).map(ids.random_id)
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.binary(max_size=80)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    lambda inner: st.lists(inner, max_size=10) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=30,
)
FIXED_SUFFIX = b"\x92\x01\x02"


def _decode_or_refuse(name: str, data: bytes) -> None:
    """Fail where ``data`` gives another exception or a record with another encoding."""
    try:
        record = RECORDS[name][0].decode(data)
    except ProtocolError:
        return
    assert encode(record) == data


@given(any_record())
def test_decoding_undoes_encoding(pair: tuple[str, Any]) -> None:
    name, record = pair
    decoded = RECORDS[name][0].decode(encode(record))
    assert decoded == record
    assert type(decoded) is type(record)


@given(st.sampled_from(list(RECORDS)), st.binary(max_size=2_000))
@example("prekey counts", FIXED_SUFFIX)
@settings(max_examples=300)
def test_any_bytes_are_a_protocol_error_or_one_canonical_record(name: str, data: bytes) -> None:
    _decode_or_refuse(name, data)


@given(st.sampled_from(list(RECORDS)), ANYTHING)
@settings(max_examples=300)
def test_any_msgpack_is_a_protocol_error_or_one_canonical_record(name: str, value: Any) -> None:
    _decode_or_refuse(name, msgpack.packb(value))


@given(any_record(), st.data())
@settings(max_examples=300)
def test_a_changed_byte_is_a_protocol_error_or_another_record(
    pair: tuple[str, Any], data: st.DataObject
) -> None:
    name, record = pair
    packed = bytearray(encode(record))
    position = data.draw(st.integers(0, len(packed) - 1))
    packed[position] ^= data.draw(st.integers(1, 255))
    _decode_or_refuse(name, bytes(packed))


@given(any_record(), st.data())
def test_a_field_replaced_by_anything_is_a_protocol_error_or_another_record(
    pair: tuple[str, Any], data: st.DataObject
) -> None:
    name, record = pair
    fields = [*record]
    fields[data.draw(st.integers(0, len(fields) - 1))] = data.draw(ANYTHING)
    _decode_or_refuse(name, msgpack.packb(tuple(fields)))


@given(st.binary(max_size=5_000))
def test_unpadding_undoes_padding(data: bytes) -> None:
    padded = content.pad(data)
    assert len(padded) in PADDING_BUCKETS
    assert content.unpad(padded) == data


@given(
    st.binary(max_size=40)
    | st.builds(
        lambda head, tail, size: (head + tail).ljust(size, b"\x00"),
        st.binary(max_size=40),
        st.sampled_from([b"", b"\x80", b"\x80\x00\x01"]),
        st.sampled_from([255, 256, 257, 1024, 4096]),
    )
)
def test_unpad_refuses_everything_that_pad_would_not_make(padded: bytes) -> None:
    try:
        data = content.unpad(padded)
    except MalformedError:
        return
    assert content.pad(data) == padded


@given(st.text(max_size=200))
def test_any_text_is_carried_unchanged_or_refused_for_a_surrogate(text: str) -> None:
    body = content.MessageBody(text, None, None, None, None)
    try:
        packed = content.encode_message_body(body)
    except MalformedError:
        assert any("\ud800" <= character <= "\udfff" for character in text)
        return
    assert content.decode_message_body(packed) == body


@given(ADDRESSES, ADDRESSES, IDS)
def test_topics_come_back_as_what_they_were_made_of(
    device: DeviceAddress, sender: DeviceAddress, name: str
) -> None:
    inbox = topics.inbox(device, sender, EnvelopeId(name))
    assert topics.parse_inbox(inbox) == (device, sender, name)
    assert topics.parse_request(topics.request(device, RequestId(name))) == (device, name)
    assert topics.parse_reply(topics.reply(device, RequestId(name))) == name
    assert topics.parse_event(topics.event(device, EventId(name))) == name
    assert topics.parse_enroll(topics.enroll(InvitationId(name))) == name
    assert all(map(topics.is_segment, inbox.split("/")))


TOPIC_TEXT = st.text(max_size=60) | st.lists(
    ADDRESSES
    | IDS
    | st.sampled_from(["v1", "u", "kd", "in", "req", "event", "enroll", "+", "#", ""]),
    max_size=7,
).map("/".join)


@given(TOPIC_TEXT)
@settings(max_examples=300)
def test_any_string_is_refused_or_is_exactly_a_made_topic(text: str) -> None:
    for parse, make in (
        (topics.parse_inbox, lambda parts: topics.inbox(*parts)),
        (topics.parse_request, lambda parts: topics.request(*parts)),
        (topics.parse_enroll, topics.enroll),
    ):
        try:
            parts = parse(text)
        except MalformedError:
            continue
        assert make(parts) == text


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_invalid(text: str) -> None:
    try:
        user, number = ids.split_address(text)
    except InvalidNameError:
        return
    assert ids.device_address(ids.parse_user(user), number) == text


@given(records(type(INVITATION)))
@settings(max_examples=50)
def test_an_invitation_comes_back_from_its_line(sample: invitation.Invitation) -> None:
    line = invitation.format_invitation(sample)
    assert invitation.parse_invitation(line) == sample
    assert repr(sample.password)[2:-1] not in repr(sample)


@given(st.text(max_size=120) | st.text("rmq1.ABab-_=", max_size=60).map("rmq1.".__add__))
def test_any_other_line_is_an_invalid_invitation(text: str) -> None:
    with pytest.raises(InvalidInvitationError):
        invitation.parse_invitation(text)
