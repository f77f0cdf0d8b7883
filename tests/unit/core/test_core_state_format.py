"""Stored sessions: the same bytes again, small, and nothing but one error for garbage."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client_sdk.core.chain import MAX_JUMP
from client_sdk.core.errors import NewerStateError, StateFormatError
from client_sdk.core.pq_ratchet import CIPHERTEXT_CHUNKS, KEY_CHUNKS
from client_sdk.core.pq_state_format import StageNumber
from client_sdk.core.ratchet import MAX_SKIPPED_KEYS
from client_sdk.core.session import Session
from client_sdk.core.session_record import MAX_ARCHIVED_SESSIONS, SessionRecord, add_archived
from client_sdk.core.state_format import (
    _LINK,
    HEARD_VERSION,
    MAX_STATE_BYTES,
    STATE_VERSION,
    parse_record,
    serialize_record,
)
from client_sdk.wire.codec import encode
from client_sdk.wire.errors import MalformedError, OperationalError, TooLargeError
from client_sdk.wire.ids import DeviceAddress, SessionId
from client_sdk.wire.pq_message import PQ_CHUNKS
from tests.vectors.core_parties import NOW, Party, established, receive, send, start

BASE_BYTES = 4096
SKIPPED_BYTES = 60


def busy() -> SessionRecord:
    """A record with skipped keys, a closed chain, a pending handshake and an archived session."""
    ours, theirs, alice, bob = established()
    ours, _ = send(ours, alice.keys)
    ours, second = send(ours, alice.keys)
    theirs, _ = receive(theirs, second)
    theirs, reply = send(theirs, bob.keys)
    ours, _ = receive(ours, reply)
    ours, _ = send(ours, alice.keys)
    _, third = send(ours, alice.keys)
    theirs, _ = receive(theirs, third)
    record = SessionRecord(theirs)
    return add_archived(record, start(bob, alice), NOW)


RECORD = busy()
DATA = serialize_record(RECORD)


def test_a_record_comes_back_as_it_was() -> None:
    for record in (RECORD, SessionRecord(), SessionRecord(None, RECORD.archived)):
        data = serialize_record(record)
        assert parse_record(data) == record
        assert serialize_record(parse_record(data)) == data


def test_a_parsed_session_goes_on_where_it_was() -> None:
    ours, theirs, alice, bob = established()
    ours = parse_record(serialize_record(SessionRecord(ours))).current or ours
    theirs = parse_record(serialize_record(SessionRecord(theirs))).current or theirs
    ours, sent = send(ours, alice.keys, "on")
    theirs, text = receive(theirs, sent)
    assert text == "on"
    assert receive(ours, send(theirs, bob.keys, "and on")[1])[1] == "and on"


def fill(session: Session, theirs: Session, alice: Party, count: int) -> Session:
    for _ in range(count):
        session, _ = send(session, alice.keys)
    _, last = send(session, alice.keys)
    return receive(theirs, last)[0]


def test_the_size_of_a_session_is_bounded() -> None:
    ours, theirs, alice, bob = established()
    assert len(serialize_record(SessionRecord(start(alice, bob)))) <= BASE_BYTES
    empty = len(serialize_record(SessionRecord(theirs)))
    full = fill(ours, theirs, alice, MAX_JUMP)
    assert len(serialize_record(SessionRecord(full))) <= empty + SKIPPED_BYTES * MAX_JUMP


def test_a_chain_with_one_waiting_key_each_costs_no_more_than_the_bound() -> None:
    ours, theirs, alice, bob = established()
    for _ in range(12):
        ours, _ = send(ours, alice.keys)
        ours, sent = send(ours, alice.keys)
        theirs, _ = receive(theirs, sent)
        theirs, reply = send(theirs, bob.keys)
        ours, _ = receive(ours, reply)
    size = len(serialize_record(SessionRecord(theirs)))
    assert size <= 512 + SKIPPED_BYTES * 12
    assert parse_record(serialize_record(SessionRecord(theirs))).current == theirs


def test_the_largest_record_fits_its_limit() -> None:
    ours, theirs, alice, _ = established()
    full = fill(ours, theirs, alice, MAX_JUMP)
    record = SessionRecord(full)
    for number in range(MAX_ARCHIVED_SESSIONS):
        link = replace(full.link, session_id=SessionId(bytes([number]) * 32))
        record = add_archived(record, full._replace(link=link), NOW)
    assert len(serialize_record(record)) * MAX_SKIPPED_KEYS / MAX_JUMP <= MAX_STATE_BYTES


def test_a_newer_version_is_refused_by_name() -> None:
    with pytest.raises(NewerStateError, match="newer version"):
        parse_record(bytes((HEARD_VERSION + 1,)) + DATA[1:])


@pytest.mark.parametrize("version", range(STATE_VERSION))
def test_an_older_key_schedule_is_left_for_a_new_session(version: int) -> None:
    with pytest.raises(StateFormatError, match=f"format {version}, .* new session"):
        parse_record(bytes((version,)) + DATA[1:])


def test_truncated_or_extended_bytes_are_damage() -> None:
    for data in (b"", DATA[:1], DATA + b"\x00", DATA[:100]):
        with pytest.raises(StateFormatError):
            parse_record(data)
    for cut in range(1, len(DATA), 7):
        with pytest.raises(StateFormatError):
            parse_record(DATA[:-cut])


def test_bytes_over_the_limit_are_not_parsed() -> None:
    with pytest.raises(StateFormatError):
        parse_record(bytes((STATE_VERSION,)) + bytes(MAX_STATE_BYTES + 1))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_garbage_is_damage_and_nothing_else(data: bytes) -> None:
    for garbage in (data, bytes((STATE_VERSION,)) + data):
        with pytest.raises(OperationalError):
            parse_record(garbage)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(DATA) * 8 - 1))
def test_a_flipped_bit_is_damage_or_another_readable_record(bit: int) -> None:
    changed = bytearray(DATA)
    changed[bit // 8] ^= 1 << bit % 8
    try:
        record = parse_record(bytes(changed))
    except (StateFormatError, NewerStateError):
        return
    assert parse_record(serialize_record(record)) == record


def damaged(**ratchet: object) -> bytes:
    """Return a stored session with some fields of its ratchet exchanged."""
    import msgpack

    names = (
        "ec_root",
        "pq_root",
        "epoch",
        "waiting",
        "own_private",
        "sending",
        "receiving",
        "closed",
        "previous_chain_length",
        "pq_ratchet",
    )
    current, archived = msgpack.unpackb(DATA[1:], use_list=False)
    fields = dict(zip(names, current[-1], strict=True)) | ratchet
    return bytes((STATE_VERSION,)) + encode(((*current[:-1], tuple(fields.values())), archived))


def entry(number: int) -> bytes:
    return number.to_bytes(4, "big") + b"k" * 32


def closed(next_number: int, entries: bytes, count: int) -> bytes:
    return b"t" * 8 + next_number.to_bytes(8, "big") + count.to_bytes(2, "big") + entries


def pq(
    epoch: int = 0, stage: int = 1, data: bytes = b"", next_chunk: int = 0, pieces: bytes = b""
) -> tuple[object, ...]:
    return epoch, stage, data, next_chunk, pieces


def piece(number: int) -> bytes:
    return bytes((number,)) + b"c" * 96


def pieces(count: int) -> bytes:
    return b"".join(map(piece, range(count)))


DRAWING, OFFERING, COLLECTING, ANSWERING = StageNumber
KEM_KEY = Party("carol").keys.ml_kem_768().public
GOOD_POINT = Party("carol").identity.public


@pytest.mark.parametrize(
    "ratchet",
    [
        {"epoch": 1},
        {"epoch": -1},
        {"waiting": b"short"},
        {"waiting": b"k" * 32},
        {"pq_ratchet": b"x"},
        {"pq_ratchet": pq(epoch=1)},
        {"pq_ratchet": pq(epoch=2**32)},
        {"pq_ratchet": pq(stage=0)},
        {"pq_ratchet": pq(stage=5)},
        {"pq_ratchet": pq(data=b"short")},
        {"pq_ratchet": pq(next_chunk=1)},
        {"pq_ratchet": pq(pieces=piece(0))},
        {"pq_ratchet": pq(stage=OFFERING, data=b"s" * 63)},
        {"pq_ratchet": pq(stage=OFFERING, data=b"s" * 64, next_chunk=PQ_CHUNKS)},
        {"pq_ratchet": pq(stage=OFFERING, data=b"s" * 64, pieces=pieces(CIPHERTEXT_CHUNKS))},
        {"pq_ratchet": pq(stage=COLLECTING, pieces=pieces(KEY_CHUNKS))},
        {"pq_ratchet": pq(stage=COLLECTING, pieces=piece(1) + piece(1))},
        {"pq_ratchet": pq(stage=COLLECTING, pieces=piece(PQ_CHUNKS))},
        {"pq_ratchet": pq(stage=COLLECTING, pieces=piece(1)[:-1])},
        {"pq_ratchet": pq(stage=COLLECTING, next_chunk=1)},
        {"pq_ratchet": pq(stage=COLLECTING, data=b"\x03" + b"\xff" * 1184)},
        {"pq_ratchet": pq(stage=COLLECTING, data=KEM_KEY, pieces=piece(1))},
        {"pq_ratchet": pq(stage=ANSWERING, data=bytes(1087)), "waiting": b"k" * 32, "epoch": 0},
        {"pq_ratchet": pq(stage=ANSWERING, data=bytes(1088)), "epoch": 0},
        {"closed": b"short"},
        {"closed": closed(9, entry(1), 2)},
        {"closed": closed(9, entry(2) + entry(1), 2)},
        {"closed": closed(9, entry(1) + entry(1), 2)},
        {"closed": closed(1, entry(1), 1)},
        {"closed": closed(2**33, b"", 0)},
        {"closed": closed(3000, b"".join(entry(n) for n in range(2001)), 2001)},
        {"receiving": (GOOD_POINT, b"e" * 32, b"p" * 32, 5, entry(1) + b"x")},
        {"receiving": (GOOD_POINT, b"e" * 32, b"p" * 32, 5, entry(5))},
        {"receiving": (b"\x01" + bytes(32), b"e" * 32, b"p" * 32, 5, b"")},
        {"receiving": None, "closed": closed(3000, b"".join(map(entry, range(2001))), 2001)},
        {"own_private": b"short"},
        {"previous_chain_length": -1},
    ],
)
def test_a_session_that_no_ratchet_could_have_is_damage(ratchet: dict[str, object]) -> None:
    with pytest.raises(StateFormatError):
        parse_record(damaged(**ratchet))


@pytest.mark.parametrize(
    "ratchet",
    [
        {"pq_ratchet": pq(stage=DRAWING)},
        {"pq_ratchet": pq(stage=OFFERING, data=b"s" * 64, next_chunk=PQ_CHUNKS - 1)},
        {"pq_ratchet": pq(stage=OFFERING, data=b"s" * 64, pieces=pieces(CIPHERTEXT_CHUNKS - 1))},
        {"pq_ratchet": pq(stage=COLLECTING, pieces=pieces(KEY_CHUNKS - 1))},
        {"pq_ratchet": pq(stage=COLLECTING, data=KEM_KEY)},
        {"pq_ratchet": pq(2**32 - 1, ANSWERING, b"c" * 1088, 63), "epoch": 2**32 - 2},
    ],
)
def test_every_stage_of_the_post_quantum_ratchet_comes_back(ratchet: dict[str, object]) -> None:
    if "epoch" in ratchet:
        ratchet = {**ratchet, "waiting": b"k" * 32}
    data = damaged(**ratchet)
    record = parse_record(data)
    assert record.current is not None
    assert record.current.ratchet.pq.epoch == ratchet["pq_ratchet"][0]  # type: ignore[index]
    assert serialize_record(record) == data
    assert len(serialize_record(SessionRecord(record.current))) <= BASE_BYTES


def test_skipped_keys_at_the_limit_are_read() -> None:
    packed = closed(3000, b"".join(map(entry, range(MAX_SKIPPED_KEYS))), MAX_SKIPPED_KEYS)
    record = parse_record(damaged(closed=packed, receiving=None))
    assert record.current is not None
    assert len(record.current.ratchet.closed[0].skipped) == MAX_SKIPPED_KEYS


def test_a_session_stays_below_the_bound_at_every_message_of_a_conversation() -> None:
    ours, theirs, alice, bob = established()
    sizes = []
    for _ in range(60):
        ours, sent = send(ours, alice.keys)
        theirs, _ = receive(theirs, sent)
        theirs, reply = send(theirs, bob.keys)
        ours, _ = receive(ours, reply)
        sizes += [len(serialize_record(SessionRecord(one))) for one in (ours, theirs)]
    assert max(sizes) <= BASE_BYTES


@pytest.mark.parametrize("heard_at", [1, NOW, 2**63 - 1])
def test_when_the_peer_sealed_last_is_kept_beside_the_sessions(heard_at: int) -> None:
    record = replace(parse_record(DATA), heard_at=heard_at)
    data = serialize_record(record)
    assert parse_record(data) == record
    with pytest.raises(StateFormatError):
        parse_record(data[:5])


def test_a_link_has_at_most_256_bytes_and_the_longest_names_fit() -> None:
    with pytest.raises(MalformedError):
        _LINK.decode(bytes(256))
    with pytest.raises(TooLargeError):
        _LINK.decode(bytes(257))
    session = parse_record(DATA).current
    assert session is not None
    longest = DeviceAddress("u" * 32 + "-127")
    link = replace(session.link, local=longest, remote=longest)
    data = serialize_record(SessionRecord(session._replace(link=link)))
    assert parse_record(data).current == session._replace(link=link)
