"""A codec's shortcut and its strict way give the same records and the same refusals."""

from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client_sdk.wire import envelope
from client_sdk.wire.codec import Codec, encode
from client_sdk.wire.encoded_keys import RatchetKey
from client_sdk.wire.envelope import (
    ENVELOPE,
    MESSAGE_CONTEXT,
    RATCHET_HEADER,
    Envelope,
    EnvelopeKind,
    RatchetHeader,
    associated_data,
    known_envelope,
    known_ratchet_header,
)
from client_sdk.wire.errors import ProtocolError
from client_sdk.wire.ids import DeviceAddress, EnvelopeId, SessionId
from client_sdk.wire.limits import MAX_ENVELOPE_BYTES, MAX_HEADER_BYTES, PADDING_BUCKETS

STRICT_ENVELOPE = Codec(Envelope, MAX_ENVELOPE_BYTES)
STRICT_HEADER = Codec(RatchetHeader, MAX_HEADER_BYTES)
CHUNK = bytes(envelope.MAX_PQ_MESSAGE_BYTES)
EDGES = [0, 1, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32]
NUMBERS = st.sampled_from(EDGES) | st.integers(0, 2**32 - 1)
FORMS = {
    1: b"",
    2: b"\xcc",
    3: b"\xcd",
    5: b"\xce",
    9: b"\xcf",
    -2: b"\xd0",
    -3: b"\xd1",
    -5: b"\xd2",
    -9: b"\xd3",
}
"""Every form in which an unsigned or signed integer may stand, by its length."""


def outcome(kind: Codec[Any], data: bytes) -> object:
    """Return the record and its class, or the error and what it says."""
    try:
        record = kind.decode(data)
    except ProtocolError as error:
        return type(error), str(error)
    return type(record), record


def header(previous: int = 0, number: int = 0, pq: bytes = bytes(8)) -> RatchetHeader:
    return RatchetHeader(b"s" * 8, RatchetKey(b"\x01" + b"k" * 32), previous, number, pq)


def message(head: bytes, size: int = 272) -> Envelope:
    return Envelope(1, 1, EnvelopeKind.MESSAGE, head, bytes(size))


@given(NUMBERS, NUMBERS, st.sampled_from([bytes(8), CHUNK, b"", bytes(7), bytes(9), CHUNK[1:]]))
def test_every_header_is_what_the_strict_way_says(previous: int, number: int, pq: bytes) -> None:
    data = encode(header(previous, number, pq))
    assert outcome(RATCHET_HEADER, data) == outcome(STRICT_HEADER, data)


@pytest.mark.parametrize("pq", [bytes(8), CHUNK])
@pytest.mark.parametrize("number", EDGES[:-1])
def test_the_shortcut_knows_what_honest_devices_send(number: int, pq: bytes) -> None:
    sent = header(number, number, pq)
    head = encode(sent)
    assert known_ratchet_header(head) == sent
    for bucket in PADDING_BUCKETS[:-1]:
        enveloped = message(head, bucket + 16)
        assert known_envelope(encode(enveloped)) == enveloped


@pytest.mark.parametrize("pq", [bytes(8), CHUNK])
def test_a_header_with_any_one_byte_changed_is_what_the_strict_way_says(pq: bytes) -> None:
    data = encode(header(200, 70_000, pq))
    for place in [*range(62), len(data) - 1]:
        for value in range(256):
            changed = data[:place] + bytes((value,)) + data[place + 1 :]
            assert outcome(RATCHET_HEADER, changed) == outcome(STRICT_HEADER, changed)


def test_an_envelope_with_any_one_byte_changed_is_what_the_strict_way_says() -> None:
    data = encode(message(encode(header())))
    for place in [*range(70), len(data) - 1]:
        for value in range(256):
            changed = data[:place] + bytes((value,)) + data[place + 1 :]
            assert outcome(ENVELOPE, changed) == outcome(STRICT_ENVELOPE, changed)


def test_an_envelope_of_every_length_is_what_the_strict_way_says() -> None:
    whole = encode(message(encode(header()), 300))
    for size in range(len(whole) + 1):
        assert outcome(ENVELOPE, whole[:size]) == outcome(STRICT_ENVELOPE, whole[:size])
    for size in (0, 1, 255, 256, 271, 272, 65_535, 65_536, 65_552, 65_553):
        for head in (0, 255, 256):
            data = encode(message(bytes(head), size))
            assert outcome(ENVELOPE, data) == outcome(STRICT_ENVELOPE, data)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("number", EDGES)
def test_a_number_in_any_form_is_what_the_strict_way_says(form: int, number: int) -> None:
    size = max(1, abs(form) - 1)
    if number >= 256**size:
        return
    written = FORMS[form] + number.to_bytes(size)
    start, end = encode(header())[:46], encode(header())[47:]
    for data in (start + written + end, start + b"\x00" + written + end[1:]):
        assert outcome(RATCHET_HEADER, data) == outcome(STRICT_HEADER, data)


FRAMED = st.binary().map(lambda tail: b"\x95\x01\x01\x02\xc4" + tail)


@given(st.binary(max_size=400) | FRAMED)
@settings(max_examples=300)
def test_any_bytes_are_what_the_strict_way_says(data: bytes) -> None:
    assert outcome(ENVELOPE, data) == outcome(STRICT_ENVELOPE, data)
    assert outcome(RATCHET_HEADER, data) == outcome(STRICT_HEADER, data)


@given(
    st.sampled_from([1, 2]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.just("a" * 26),
    st.sampled_from([0, 58, 255, 256, 2_000]),
)
def test_associated_data_is_the_encoding_of_all_that_it_binds(
    kind: int, envelope_id: str, size: int
) -> None:
    session, parties = SessionId(b"i" * 32), (DeviceAddress("alice-1"), DeviceAddress("bob-12"))
    head = bytes(size)
    data = associated_data(kind, session, parties, EnvelopeId(envelope_id), head)
    fields = (MESSAGE_CONTEXT, 1, 1, kind, session, *parties, envelope_id, head)
    assert data == msgpack.packb(fields)
