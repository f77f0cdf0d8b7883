"""Corners of the core that no other test stands in: mutation testing pointed at each."""

import hashlib
from dataclasses import replace

import msgpack
import pytest

from client_sdk.core import erasure, fingerprint, kdf
from client_sdk.core.errors import InvalidKeyError, StateFormatError
from client_sdk.core.fingerprint import numeric
from client_sdk.core.kdf import ChainKey, PqRootKey, RootKey
from client_sdk.core.kem_keys import MlKem768KeyPair, parse_ml_kem_768
from client_sdk.core.keys import (
    Ed25519KeyPair,
    MlKem1024KeyPair,
    X25519KeyPair,
    parse_ed25519,
    parse_ml_kem_1024,
    parse_x25519,
)
from client_sdk.core.pq_ratchet import (
    Answering,
    Collecting,
    Drawing,
    Offering,
    PqRatchet,
    Stage,
    encapsulation_wanted,
    kem_pair_wanted,
    wants_nothing,
)
from client_sdk.core.ratchet import MAX_RECEIVING_CHAINS, MAX_SKIPPED_KEYS
from client_sdk.core.recovery_code import decode_recovery_code, encode_recovery_code
from client_sdk.core.session import Session
from client_sdk.core.session_record import (
    ARCHIVE_LIFETIME_MS,
    SessionRecord,
    add_archived,
    archive_current,
    expire,
    promote,
    update,
)
from client_sdk.core.state_format import parse_record, serialize_record
from client_sdk.core.triple_ratchet import ChainKeys, RootKeys
from client_sdk.wire.codec import encode
from client_sdk.wire.envelope import MAX_MESSAGE_NUMBER, RATCHET_HEADER
from client_sdk.wire.errors import MisuseError
from client_sdk.wire.ids import SessionId
from tests.vectors.core_parties import NOW, Keys, Party, established, receive, send

BASE, _, _, _ = established()
KEY_OF_A_CODE_WITH_ALL_32_CHARACTERS = hashlib.sha256(b"364").digest()


def session(number: int) -> Session:
    link = replace(BASE.link, session_id=SessionId(bytes([number]) * 32))
    return BASE._replace(link=link)


def product(one: int, other: int) -> int:
    """Multiply in the field of the chunks, bit by bit."""
    total = 0
    for bit in range(8):
        total ^= (one << bit) * (other >> bit & 1)
    for bit in range(14, 7, -1):
        total ^= (0x11D << (bit - 8)) * (total >> bit & 1)
    return total


def test_the_table_of_powers_has_every_power_of_two_of_the_field() -> None:
    expected = [1]
    while len(expected) < 255:
        expected.append(product(expected[-1], 2))
    assert erasure._powers() == tuple(expected)
    assert product(expected[-1], 2) == 1


def test_a_safety_number_may_have_as_many_rounds_as_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fingerprint, "MAX_ITERATIONS", 3)
    assert len(numeric(b"a", b"k" * 33, b"b", b"l" * 33, 3)) == 60
    with pytest.raises(MisuseError):
        numeric(b"a", b"k" * 33, b"b", b"l" * 33, 4)


def test_a_late_message_takes_its_own_key_and_leaves_all_else_as_it_was() -> None:
    ours, theirs, alice, bob = established()
    late = []
    for number in range(3):  # three closed chains with two waiting keys each
        for text in ("one", "two"):
            ours, sent = send(ours, alice.keys, f"{text} {number}")
            late.append(sent)
        ours, sent = send(ours, alice.keys, "in time")
        theirs, _ = receive(theirs, sent)
        theirs, reply = send(theirs, bob.keys, "turn")
        ours, _ = receive(ours, reply)
    ours, sent = send(ours, alice.keys, "in time")
    theirs, _ = receive(theirs, sent)
    before = theirs.ratchet
    waiting = [chain for chain in before.closed if chain.skipped]
    assert [len(chain.skipped) for chain in waiting] == [2, 2, 2]
    theirs, text = receive(theirs, late[2])
    assert text == "one 1"
    after = theirs.ratchet
    skipped = waiting[1].skipped
    changed = waiting[1]._replace(skipped=skipped.without(skipped.find(0)))
    expected = tuple(changed if one == waiting[1] else one for one in before.closed)
    assert after._replace(pq=before.pq) == before._replace(closed=expected)
    for index in (5, 0, 3, 4, 1):
        theirs, _ = receive(theirs, late[index])
    assert [chain for chain in theirs.ratchet.closed if chain.skipped] == []


def test_receiving_keeps_the_length_of_the_sending_chain_before() -> None:
    ours, theirs, alice, bob = established()
    for _ in range(3):
        ours, sent = send(ours, alice.keys)
    theirs, _ = receive(theirs, sent)
    theirs, reply = send(theirs, bob.keys)
    ours, _ = receive(ours, reply)
    ours, sent = send(ours, alice.keys)
    theirs, _ = receive(theirs, sent)
    theirs, another = send(theirs, bob.keys)
    before = ours.ratchet.previous_chain_length
    assert before == 3
    ours, _ = receive(ours, another)
    theirs, third = send(theirs, bob.keys)
    ours, _ = receive(ours, third)
    assert ours.ratchet.previous_chain_length == 1


def test_a_record_keeps_what_a_step_does_not_touch() -> None:
    record = SessionRecord(session(1))
    for number in (2, 3):
        record = add_archived(record, session(number), NOW + number)
    changed = session(2)._replace(acknowledged=not BASE.acknowledged)
    updated = update(record, changed)
    assert updated.current == session(1)
    assert [old.session for old in updated.archived] == [session(3), changed]
    again = promote(record, session(1)._replace(acknowledged=not BASE.acknowledged), NOW)
    assert again.archived == record.archived
    assert promote(record, session(4), NOW + 9).archived[0].archived_at == NOW + 9
    assert archive_current(record, NOW + 8).archived[0].archived_at == NOW + 8
    later = expire(record, NOW + 3 + ARCHIVE_LIFETIME_MS)
    assert later.current == session(1)
    assert [old.session for old in later.archived] == [session(3)]


def test_roots_and_chains_show_their_names_only() -> None:
    roots = RootKeys(RootKey(b"secret" * 6), PqRootKey(b"secret" * 6))
    chain = ChainKeys(ChainKey(b"secret" * 6), ChainKey(b"secret" * 6))
    assert (repr(roots), repr(chain)) == ("RootKeys(...)", "ChainKeys(...)")


def test_a_wrong_length_is_told_with_what_has_it() -> None:
    pair = MlKem768KeyPair.from_seed(bytes(64))
    with pytest.raises(InvalidKeyError, match=r"^ML-KEM-768 ciphertext: 3 bytes, not 1088;"):
        pair.decapsulate(b"abc")
    with pytest.raises(InvalidKeyError, match=r"^ML-KEM-1024 ciphertext: 3 bytes, expected 1568;"):
        MlKem1024KeyPair.from_seed(bytes(64)).decapsulate(b"abc")
    with pytest.raises(InvalidKeyError, match=r"^ML-KEM-768 public key: 3 bytes, not 1185;"):
        parse_ml_kem_768(b"abc")
    with pytest.raises(InvalidKeyError, match=r"^ML-KEM-768 seed: 3 bytes, not 64;"):
        MlKem768KeyPair.from_seed(b"abc")
    for call, message in (
        (X25519KeyPair.from_private_bytes, "X25519 private key: 3 bytes, expected 32;"),
        (Ed25519KeyPair.from_private_bytes, "Ed25519 private key: 3 bytes, expected 32;"),
        (MlKem1024KeyPair.from_seed, "ML-KEM-1024 seed: 3 bytes, expected 64;"),
        (parse_ml_kem_1024, "ML-KEM-1024 public key: 3 bytes, expected 1569;"),
        (parse_x25519, "X25519 public key: 3 bytes, expected 33;"),
        (parse_ed25519, "Ed25519 public key: 3 bytes, expected 33;"),
    ):
        with pytest.raises(InvalidKeyError, match=f"^{message}"):
            call(b"abc")


def stored(receiving_skipped: int, closed_skipped: int, closed_length: int) -> bytes:
    """Return a stored session with so many waiting keys, and a closed chain of that length."""
    data = serialize_record(SessionRecord(BASE))
    current, archived = msgpack.unpackb(data[1:], use_list=False)
    ratchet = list(current[-1])
    packed = [n.to_bytes(4) + b"k" * 32 for n in range(max(receiving_skipped, closed_skipped))]
    point = Keys(b"corner").x25519().public
    receiving = b"".join(packed[:receiving_skipped])
    ratchet[6] = (point, b"e" * 32, b"p" * 32, receiving_skipped, receiving)
    head = b"t" * 8 + closed_length.to_bytes(8) + closed_skipped.to_bytes(2)
    ratchet[7] = head + b"".join(packed[:closed_skipped])
    return data[:1] + encode(((*current[:-1], tuple(ratchet)), archived))


def test_the_limit_of_waiting_keys_is_one_for_all_chains_of_a_stored_session() -> None:
    half = MAX_SKIPPED_KEYS // 2
    assert parse_record(stored(half, half, half)).current is not None
    with pytest.raises(StateFormatError):
        parse_record(stored(half, half + 1, half + 1))
    with pytest.raises(StateFormatError):
        parse_record(stored(half + 1, half, half))


def test_a_stored_chain_may_be_as_long_as_a_chain_can_be() -> None:
    assert parse_record(stored(0, 0, MAX_MESSAGE_NUMBER + 1)).current is not None
    with pytest.raises(StateFormatError):
        parse_record(stored(0, 0, MAX_MESSAGE_NUMBER + 2))


def test_a_recovery_code_may_use_every_character_of_the_alphabet() -> None:
    account = Ed25519KeyPair.from_private_bytes(KEY_OF_A_CODE_WITH_ALL_32_CHARACTERS)
    code = encode_recovery_code(account)
    assert len(set(code) - {"-"}) == 32
    assert decode_recovery_code(code) == account


def passed_over(counts: list[int]) -> tuple[Session, Session, Party]:
    """Return both sides after chains of which so many messages each have not come, and ours."""
    ours, theirs, alice, bob = established()
    for number, count in enumerate(counts):
        if number:
            theirs, reply = send(theirs, bob.keys)
            ours, _ = receive(ours, reply)
        for _ in range(count):
            ours, _ = send(ours, alice.keys)
        ours, last = send(ours, alice.keys)
        theirs, _ = receive(theirs, last)
    return ours, theirs, alice


def waiting_keys(session: Session) -> list[int]:
    return [len(chain.skipped) for chain in session.ratchet.closed]


def test_keys_over_the_limit_are_taken_from_the_oldest_chains_and_from_no_other() -> None:
    _, theirs, _ = passed_over([300] * 6 + [700])
    assert waiting_keys(theirs)[-6:] == [0, 100, 300, 300, 300, 300]
    assert theirs.ratchet.receiving is not None
    assert len(theirs.ratchet.receiving.skipped) == 700


def test_chains_that_lose_their_last_keys_together_are_forgotten_together() -> None:
    _, theirs, _ = passed_over([100] * 7 + [1000, 1000])
    assert waiting_keys(theirs) == [0] * (MAX_RECEIVING_CHAINS - 1) + [1000]


def test_a_chain_that_gave_up_keys_of_its_own_goes_on() -> None:
    ours, theirs, alice = passed_over([1000])
    for _ in range(2):
        for _ in range(1000):
            ours, _ = send(ours, alice.keys)
        ours, last = send(ours, alice.keys)
        theirs, _ = receive(theirs, last)
    assert theirs.ratchet.receiving is not None
    assert len(theirs.ratchet.receiving.skipped) == MAX_SKIPPED_KEYS
    ours, following = send(ours, alice.keys, "goes on")
    assert receive(theirs, following)[1] == "goes on"


@pytest.mark.parametrize(
    ("stage", "nothing"),
    [
        (Drawing(), False),
        (Offering(MlKem768KeyPair.from_seed(bytes(64))), True),
        (Collecting(), True),
        (Collecting((), MlKem768KeyPair.from_seed(bytes(64)).public), False),
        (Answering(bytes(1088)), True),
    ],
)
def test_a_stage_wants_fresh_keys_or_nothing(stage: Stage, nothing: bool) -> None:
    state = PqRatchet(1, stage)
    assert wants_nothing(state) is nothing
    assert nothing is (not kem_pair_wanted(state) and encapsulation_wanted(state) is None)


def test_what_a_step_does_not_touch_stays_in_the_session() -> None:
    ours, theirs, alice, bob = established()
    assert ours.link.handshake_digest == theirs.link.handshake_digest
    assert ours.acknowledged
    ours, first = send(ours, alice.keys)
    assert ours.acknowledged
    theirs, _ = receive(theirs, first)
    theirs, reply = send(theirs, bob.keys)
    ours, _ = receive(ours, reply)
    for number in range(2):
        ours, sent = send(ours, alice.keys)
        header = RATCHET_HEADER.decode(sent.envelope.header)
        assert (header.previous_chain_length, header.message_number) == (1, number)


def test_hkdf_is_that_of_rfc_5869() -> None:
    """Test case 1 of its appendix A."""
    output = kdf.hkdf(bytes(range(13)), b"\x0b" * 22, bytes(range(0xF0, 0xFA)), 42)
    assert output.hex() == (
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )
