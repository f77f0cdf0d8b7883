"""Whatever arrives in whatever order: each message opens once, and only as it was sent."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client_sdk.core.chain import (
    ReceivingChain,
    SendingChain,
    next_to_send,
    reach,
    skipped_keys,
)
from client_sdk.core.errors import AuthenticationError, DuplicateMessageError
from client_sdk.core.kdf import ChainKey, MessageKey
from client_sdk.core.keys import EncodedX25519
from client_sdk.core.session import Session, decrypt
from client_sdk.core.session_record import SessionRecord
from client_sdk.core.state_format import parse_record, serialize_record
from client_sdk.core.triple_ratchet import ChainKeys
from client_sdk.wire.envelope import ENVELOPE
from client_sdk.wire.errors import ProtocolError
from tests.vectors.core_parties import (
    Keys,
    Party,
    Sent,
    accept_first,
    established,
    receive,
    send,
    start,
)

chain_keys = st.binary(min_size=32, max_size=32)
ALICE, BOB = Party("alice"), Party("bob")


def through_the_store(session: Session) -> Session:
    """Return the session as it is after a restart; its bytes are the same again."""
    data = serialize_record(SessionRecord(session))
    restored = parse_record(data).current
    assert restored is not None
    assert serialize_record(SessionRecord(restored)) == data
    return restored


def key_at(chain: ReceivingChain, number: int) -> tuple[ReceivingChain, MessageKey]:
    if number < chain.next_number:
        place = chain.skipped.find(number)
        left, key = chain.skipped.without(place), chain.skipped.key(place)
        return ReceivingChain(chain.ratchet_key, chain.keys, chain.next_number, left), key
    walked = reach(chain.keys, chain.next_number, number)
    skipped = skipped_keys(chain.skipped, walked.passed, chain.next_number)
    after = ReceivingChain(chain.ratchet_key, walked.after, number + 1, skipped)
    return after, walked.message_key


@given(chain_keys, chain_keys, st.permutations(range(20)))
def test_arrival_order_does_not_change_message_keys(
    ec: bytes, pq: bytes, arrival: list[int]
) -> None:
    keys = ChainKeys(ChainKey(ec), ChainKey(pq))
    sending, expected = SendingChain(keys), []
    for _ in range(20):
        sending, key = next_to_send(sending)
        expected.append(key)
    chain = ReceivingChain(EncodedX25519(b"\x01" * 33), keys)
    for number in arrival:
        chain, key = key_at(chain, number)
        assert key == expected[number]
    assert len(chain.skipped) == 0


class Conversation:
    """Two sessions, restored from bytes at every step, with a network that the test plays."""

    def __init__(self) -> None:
        self.parties = (ALICE, BOB)
        self.keys = Keys(b"conversation")
        self.sessions: list[Session | None] = [start(ALICE, BOB), None]
        self.waiting: list[list[tuple[str, Sent]]] = [[], []]
        self.opened: list[list[tuple[str, Sent]]] = [[], []]
        self.count = 0

    def send(self, side: int) -> None:
        session = self.sessions[side]
        if session is None:
            return
        self.count += 1
        text = f"message {self.count}"
        session, sent = send(session, self.keys, text)
        self.sessions[side] = through_the_store(session)
        self.waiting[1 - side].append((text, sent))

    def deliver(self, side: int, index: int) -> None:
        if not self.waiting[side]:
            return
        text, sent = self.waiting[side].pop(index % len(self.waiting[side]))
        session = self.sessions[side]
        if session is None:
            session, plaintext = accept_first(BOB, ALICE, sent)
        else:
            session, plaintext = receive(session, sent)
        assert plaintext == text
        self.sessions[side] = through_the_store(session)
        self.opened[side].append((text, sent))

    def repeat(self, side: int, index: int) -> None:
        session = self.sessions[side]
        if session is None or not self.opened[side]:
            return
        _, sent = self.opened[side][index % len(self.opened[side])]
        before = serialize_record(SessionRecord(session))
        with pytest.raises((DuplicateMessageError, AuthenticationError)):
            receive(session, sent)
        assert serialize_record(SessionRecord(session)) == before


steps = st.lists(
    st.tuples(
        st.sampled_from(["send", "send", "deliver", "deliver", "repeat", "drop"]),
        st.integers(0, 1),
        st.integers(0, 9),
    ),
    max_size=40,
)


@settings(max_examples=40, deadline=None)
@given(steps)
def test_every_delivered_message_opens_once_in_any_order(
    schedule: list[tuple[str, int, int]],
) -> None:
    talk = Conversation()
    talk.send(0)
    for action, side, index in schedule:
        if action == "send":
            talk.send(side)
        elif action == "deliver":
            talk.deliver(side, index)
        elif action == "repeat":
            talk.repeat(side, index)
        elif talk.waiting[side]:
            talk.waiting[side].pop(index % len(talk.waiting[side]))
    for side in (1, 0):
        while talk.waiting[side]:
            talk.deliver(side, 0)
        for index in range(len(talk.opened[side])):
            talk.repeat(side, index)


OURS, THEIRS, _, _ = established()
STATE = serialize_record(SessionRecord(THEIRS))
SENT = send(OURS, Keys(b"mutated"))[1]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(SENT.data) - 1), st.integers(1, 255)), min_size=1))
def test_a13_no_mutated_envelope_changes_the_state(changes: list[tuple[int, int]]) -> None:
    changed = bytearray(SENT.data)
    for at, mask in changes:
        changed[at] ^= mask
    if bytes(changed) == SENT.data:
        return
    with pytest.raises(ProtocolError):
        decrypt(THEIRS, SENT.envelope_id, ENVELOPE.decode(bytes(changed)))
    assert serialize_record(SessionRecord(THEIRS)) == STATE


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=600))
def test_a51_garbage_as_an_envelope_or_a_header_is_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        ENVELOPE.decode(data)
    for kind in (1, 2):
        with pytest.raises(ProtocolError):
            decrypt(THEIRS, SENT.envelope_id, SENT.envelope._replace(kind=kind, header=data))
