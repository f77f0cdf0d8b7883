"""Only the canonical bytes of one valid record are decoded; everything else is ProtocolError."""

import sys
import tracemalloc
from typing import Any

import msgpack
import pytest

from client_sdk.wire import codec, content, directory, envelope
from client_sdk.wire.codec import MAX_ARRAY_LENGTH, Codec, encode
from client_sdk.wire.errors import MalformedError, ProtocolError, TooLargeError
from client_sdk.wire.limits import MAX_DIRECTORY_BYTES
from tests.unit.wire.samples import RECORDS

COUNTS = directory.PREKEY_COUNTS
PARAMETERS = pytest.mark.parametrize("name", RECORDS)

# Test A51: what a stranger may send instead of ``PrekeyCounts(1, 2)``, which is 92 01 02.
BOMBS: dict[str, bytes] = {
    "65 KB of empty maps": b"\xdc\xff\xfe" + b"\x80" * 65_534,
    "65 KB of empty arrays": b"\xdc\xff\xfe" + b"\x90" * 65_534,
    "256 arrays of 256": b"\xdc\x01\x00" + (b"\xdc\x01\x00" + b"\xc0" * 256) * 256,
    "depth 100,000": b"\x91" * 100_000 + b"\xc0",
    "depth 1,025": b"\x91" * 1_025 + b"\xc0",
    "depth 500": b"\x91" * 500 + b"\xc0",
    "map depth 100,000": b"\x81\x01" * 50_000 + b"\xc0",
    "array32 of 4e9": b"\xdd\xff\xff\xff\xff",
    "map32 of 4e9": b"\xdf\xff\xff\xff\xff",
    "bin32 of 4e9": b"\xc6\xff\xff\xff\xff",
    "str32 of 4e9": b"\xdb\xff\xff\xff\xff",
    "ext32 of 4e9": b"\xc9\xff\xff\xff\xff\x05",
    "map": b"\x81\xa1a\x01",
    "empty map": b"\x80",
    "duplicate map keys": b"\x82\xa1a\x01\xa1a\x02",
    "map inside": b"\x92\x01\x80",
    "non-canonical uint8": b"\x92\xcc\x01\x02",
    "non-canonical uint64": b"\x92\xcf" + b"\x00" * 7 + b"\x01\x02",
    "non-canonical array16": b"\xdc\x00\x02\x01\x02",
    "non-canonical array32": b"\xdd\x00\x00\x00\x02\x01\x02",
    "signed encoding of a positive": b"\x92\xd0\x01\x02",
    "NaN": b"\x92\xcb\x7f\xf8" + b"\x00" * 6 + b"\x02",
    "float with a whole value": b"\x92\xcb\x3f\xf0" + b"\x00" * 6 + b"\x02",
    "infinity": b"\x92\xca\x7f\x80\x00\x00\x02",
    "bool for a number": b"\x92\xc3\x02",
    "text for a number": b"\x92\x01\xa12",
    "bytes for a number": b"\x92\xc4\x011\x02",
    "null for a number": b"\x92\xc0\x02",
    "negative": b"\x92\xff\x02",
    "uint64 over the counter": b"\x92\xcf" + b"\xff" * 8 + b"\x02",
    "timestamp 32": b"\x92\xd6\xff\x00\x00\x00\x01\x02",
    "timestamp 96": b"\xc7\x0c\xff" + b"\x00" * 12,
    "ext of nothing": b"\xc7\x00\x05",
    "ext": b"\x92\xd4\x05a\x02",
    "never used byte": b"\xc1",
    "nothing": b"",
    "cut": b"\x92\x01",
    "trailing byte": b"\x92\x01\x02\x00",
    "trailing record": b"\x92\x01\x02" * 2,
    "not an array": b"\x01",
    "invalid UTF-8": b"\x92\xa2\xff\xfe\x02",
    "surrogate in UTF-8": b"\x92\xa3\xed\xa0\x80\x02",
}


@PARAMETERS
def test_decode_returns_the_record_that_was_encoded(name: str) -> None:
    kind, record = RECORDS[name]
    assert kind.decode(encode(record)) == record


@PARAMETERS
def test_decoded_records_have_the_class_of_their_kind(name: str) -> None:
    kind, record = RECORDS[name]
    assert type(kind.decode(encode(record))) is type(record)


@PARAMETERS
def test_no_record_survives_the_loss_or_the_gain_of_a_byte(name: str) -> None:
    kind, record = RECORDS[name]
    packed = encode(record)
    for data in (
        packed[:-1],
        packed[1:],
        packed + b"\x00",
        b"\x00" + packed,
        packed[: len(packed) // 2],
    ):
        with pytest.raises(ProtocolError):
            kind.decode(data)


@PARAMETERS
def test_no_record_has_a_field_more_or_less(name: str) -> None:
    kind, record = RECORDS[name]
    for fields in ((*record, None), (*record, 0), record[:-1], ()):
        with pytest.raises(MalformedError):
            kind.decode(encode(tuple(fields)))


@PARAMETERS
def test_a_field_of_another_type_is_refused(name: str) -> None:
    kind, record = RECORDS[name]
    foreign: list[Any] = [1.5, -1, (), (((),),), "x" * 70_000, b"", [None]]
    for position in range(len(record)):
        for value in foreign:
            fields = [*record]
            fields[position] = value
            packed = msgpack.packb(tuple(fields))
            try:
                decoded = kind.decode(packed)
            except ProtocolError:
                continue
            assert encode(decoded) == packed, (name, position, value)


@pytest.mark.parametrize("bomb", BOMBS)
def test_a51_every_payload_bomb_is_a_protocol_error_for_every_kind(bomb: str) -> None:
    for kind, _ in RECORDS.values():
        with pytest.raises(ProtocolError):
            kind.decode(BOMBS[bomb])


def test_a51_refusing_a_bomb_takes_little_memory() -> None:
    tracemalloc.start()
    try:
        for bomb in BOMBS.values():
            with pytest.raises(ProtocolError):
                COUNTS.decode(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * 1024 * 1024


def test_the_record_beside_the_bombs_is_accepted() -> None:
    assert COUNTS.decode(b"\x92\x01\x02") == directory.PrekeyCounts(1, 2)


def test_size_is_judged_before_anything_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise AssertionError("parsed")

    monkeypatch.setattr(codec.msgpack, "unpackb", fail)
    with pytest.raises(TooLargeError):
        COUNTS.decode(b"\x00" * (MAX_DIRECTORY_BYTES + 1))
    with pytest.raises(AssertionError, match="parsed"):
        COUNTS.decode(b"\x00" * MAX_DIRECTORY_BYTES)


def test_arrays_end_at_the_limit_before_the_record_is_looked_at() -> None:
    at_limit, over = encode((0,) * MAX_ARRAY_LENGTH), encode((0,) * (MAX_ARRAY_LENGTH + 1))
    with pytest.raises(MalformedError) as judged_by_record:
        COUNTS.decode(at_limit)
    with pytest.raises(MalformedError) as judged_by_msgpack:
        COUNTS.decode(over)
    assert judged_by_record.value.__cause__ is None
    assert "max_array_len" in str(judged_by_msgpack.value.__cause__)


def test_a51_a_map_is_refused_at_its_header_before_any_item_is_built() -> None:
    with pytest.raises(MalformedError) as caught:
        COUNTS.decode(BOMBS["duplicate map keys"])
    assert "max_map_len" in str(caught.value.__cause__)


def test_what_was_received_stands_in_no_error_message() -> None:
    secret = "correct horse battery staple"
    body = content.MessageBody(secret, None, None, None, None)
    for packed in (
        encode((*body, 1)),
        encode((secret, None, None, secret.encode(), None)),
        encode(body) + b"\x00",
    ):
        with pytest.raises(MalformedError) as caught:
            content.MESSAGE_BODY.decode(packed)
        assert secret not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_kinds_do_not_decode_as_each_other() -> None:
    for name, (_, record) in RECORDS.items():
        packed = encode(record)
        for other, (kind, sample) in RECORDS.items():
            if other == name:
                continue
            try:
                decoded = kind.decode(packed)
            except ProtocolError:
                continue
            # A device, a user and a link are a text each: the signed action tells them apart.
            # An enrolment of a new account and of a linked device are one record.
            same = kind is RECORDS[name][0]
            assert same or len(sample) == len(record) <= 2, (name, other, decoded)


def test_a_codec_names_its_record_in_errors() -> None:
    with pytest.raises(TooLargeError, match=r"PrekeyCounts: 3 bytes, at most 2"):
        Codec(directory.PrekeyCounts, 2).decode(b"\x92\x01\x02")


def test_recursion_limit_of_the_process_does_not_matter() -> None:
    before = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(200)
        with pytest.raises(MalformedError):
            COUNTS.decode(b"\x91" * 900 + b"\xc0")
    finally:
        sys.setrecursionlimit(before)


def test_an_unknown_version_suite_or_kind_is_refused() -> None:
    good = RECORDS["envelope"][1]
    for position, values in {0: (0, 2), 1: (0, 2), 2: (0, 3)}.items():
        for value in values:
            fields = [*good]
            fields[position] = value
            with pytest.raises(MalformedError):
                envelope.ENVELOPE.decode(encode(tuple(fields)))
