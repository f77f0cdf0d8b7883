"""Epochs in sessions: message keys take them in, thefts heal, failures change nothing."""

import pytest

from client_sdk.core import ratchet
from client_sdk.core.errors import AuthenticationError
from client_sdk.core.fresh_keys import FreshKeys
from client_sdk.core.headers import decoded_header
from client_sdk.core.kdf import EpochKey
from client_sdk.core.pq_ratchet import CIPHERTEXT_CHUNKS, KEY_CHUNKS, Answering, Collecting
from client_sdk.core.ratchet import RatchetState
from client_sdk.core.session import Session, decrypt, encrypt, keys_wanted
from client_sdk.core.session_record import SessionRecord
from client_sdk.core.state_format import parse_record, serialize_record
from client_sdk.core.triple_ratchet import RootKeys, new_chain
from client_sdk.wire.codec import encode
from client_sdk.wire.envelope import RATCHET_HEADER
from client_sdk.wire.errors import MalformedError, ProtocolError
from client_sdk.wire.pq_message import PqMessage, PqPart, encode_pq_message
from tests.unit.core.test_core_ratchet import ROOTS, pair
from tests.unit.core.test_core_ratchet import receive as take
from tests.unit.core.test_core_ratchet import send as give
from tests.vectors.core_parties import Keys, Party, Sent, accept_first, padded, receive, send, start


def stored(session: Session) -> bytes:
    return serialize_record(SessionRecord(session))


def through_the_store(session: Session) -> Session:
    restored = parse_record(stored(session)).current
    assert restored is not None
    assert stored(restored) == stored(session)
    assert restored == session
    return restored


def pq_of(sent: Sent) -> PqMessage:
    return decoded_header(sent.envelope.kind, sent.envelope.header).position.pq


class Talk:
    """A session's two sides; every state goes through the store at every step."""

    def __init__(self) -> None:
        self.alice, self.bob = Party("alice"), Party("bob")
        ours, first = send(start(self.alice, self.bob), self.alice.keys)
        theirs, _ = accept_first(self.bob, self.alice, first)
        self.sides = [ours, theirs]
        self.parties = (self.alice, self.bob)
        self.messages = 1

    def say(self, side: int) -> Sent:
        session, sent = send(self.sides[side], self.parties[side].keys)
        self.sides[side] = through_the_store(session)
        self.messages += 1
        return sent

    def hear(self, side: int, sent: Sent) -> None:
        self.sides[side] = through_the_store(receive(self.sides[side], sent)[0])

    def round(self) -> None:
        for side in (1, 0):
            self.hear(1 - side, self.say(side))

    def epochs(self) -> list[int]:
        """The epochs that the next messages of both sides are sealed under."""
        return [one.ratchet.roots.epoch for one in self.sides]


def test_a_new_epoch_seals_messages_within_fifty_of_them_again_and_again() -> None:
    talk, since = Talk(), 0
    for epoch in (1, 2, 3, 4):
        while min(talk.epochs()) < epoch:
            talk.round()
        assert talk.messages - since <= 51
        assert talk.epochs() == [epoch, epoch]
        since = talk.messages
        assert talk.sides[0].ratchet.roots.pq == talk.sides[1].ratchet.roots.pq


def test_no_session_is_ever_over_its_size() -> None:
    talk, largest = Talk(), 0
    for _ in range(60):
        talk.round()
        largest = max(largest, *(len(stored(one)) for one in talk.sides))
    assert largest <= 2048


def test_an_unanswered_initiator_draws_nothing_and_sends_no_chunk() -> None:
    alice, bob = Party("alice"), Party("bob")
    session = start(alice, bob)
    for _ in range(3):
        assert keys_wanted(session) == (False, False, None)
        session, _ = send(session, alice.keys)
    assert session.ratchet.pq.stage == Collecting()


def test_one_way_traffic_keeps_the_epoch() -> None:
    talk = Talk()
    for _ in range(200):
        talk.hear(0, talk.say(1))
    assert talk.epochs() == [0, 0]
    for _ in range(200):
        talk.hear(1, talk.say(0))
    assert talk.epochs() == [0, 0]
    assert talk.sides[1].ratchet.pq.epoch == 1  # and with its next message the epoch begins
    talk.round()
    assert talk.epochs() == [1, 1]


def test_bursts_in_which_nothing_is_answered_agree_on_every_epoch() -> None:
    talk = Talk()
    for _ in range(6):
        waiting = [[talk.say(1) for _ in range(30)], [talk.say(0) for _ in range(30)]]
        for side in (0, 1):
            for sent in reversed(waiting[side]):
                talk.hear(side, sent)
    assert min(talk.epochs()) >= 2
    talk.round()
    assert talk.epochs()[0] == talk.epochs()[1]


def thief_follows(talk: Talk, stolen: Session, rounds: int, thief: Keys) -> int:
    """Return how many of the victim's messages a thief reads who breaks every later X25519 key.

    The thief has a copy of Alice's whole state, sees all envelopes, and gets each X25519 pair that
    Alice draws: what a quantum computer would give. The ML-KEM draws stay Alice's.
    """
    for count in range(rounds):
        sent = talk.say(1)
        talk.hear(0, sent)
        try:
            stolen, _ = decrypt(stolen, sent.envelope_id, sent.envelope)
        except ProtocolError:
            return count
        alice = talk.sides[0]
        wanted = keys_wanted(alice)
        fresh = talk.alice.keys.fresh(wanted)
        session, data = encrypt(alice, sent.envelope_id, padded("text"), fresh)
        talk.sides[0] = session
        talk.hear(1, Sent(sent.envelope_id, data))
        guessed = thief.fresh(keys_wanted(stolen)._replace(ratchet_key=False))
        guessed = FreshKeys(fresh.ratchet_key, guessed.kem_pair, guessed.encapsulation)
        stolen, _ = encrypt(stolen, sent.envelope_id, padded("text"), guessed)
    return rounds


@pytest.mark.parametrize("rounds_before", [0, 1, 12, 13, 20, 24, 25, 26, 38, 49, 50])
def test_a_theft_of_everything_heals_within_fifty_messages_each_way(rounds_before: int) -> None:
    talk = Talk()
    for _ in range(rounds_before):
        talk.round()
    read = thief_follows(talk, talk.sides[0], 60, Keys(b"thief"))
    assert read < 50


def test_a_thief_without_the_later_x25519_keys_is_out_after_one_round() -> None:
    talk = Talk()
    stolen = talk.sides[0]
    talk.round()
    sent = talk.say(1)
    with pytest.raises(AuthenticationError):
        decrypt(stolen, sent.envelope_id, sent.envelope)


@pytest.mark.parametrize("number", [0, 5, 12, 13, 40, 63])
def test_a_broker_that_drops_one_chunk_number_for_ever_stops_nothing(number: int) -> None:
    talk = Talk()
    for _ in range(60):
        for side in (1, 0):
            sent = talk.say(side)
            chunk = pq_of(sent).chunk
            if chunk is None or chunk.number != number:
                talk.hear(1 - side, sent)
    assert min(talk.epochs()) >= 1


def test_a13_a_message_with_a_chunk_counts_in_every_bit_and_no_flip_changes_the_state() -> None:
    talk = Talk()
    talk.round()
    sent = talk.say(1)
    message = pq_of(sent)
    assert message.chunk is not None
    header = RATCHET_HEADER.decode(sent.envelope.header)
    before = stored(talk.sides[0])
    place = header.pq_message
    for bit in range(len(place) * 8):
        changed = bytearray(place)
        changed[bit // 8] ^= 1 << bit % 8
        forged = encode(header._replace(pq_message=bytes(changed)))
        with pytest.raises((AuthenticationError, MalformedError)):
            decrypt(talk.sides[0], sent.envelope_id, sent.envelope._replace(header=forged))
        assert stored(talk.sides[0]) == before
    talk.hear(0, sent)
    assert stored(talk.sides[0]) != before


def test_a_repeated_message_brings_no_chunk_twice() -> None:
    talk = Talk()
    sent = talk.say(1)
    talk.hear(0, sent)
    before = stored(talk.sides[0])
    with pytest.raises(ProtocolError):
        receive(talk.sides[0], sent)
    assert stored(talk.sides[0]) == before


def test_a_chain_of_an_epoch_that_is_not_here_is_refused_before_any_derivation() -> None:
    talk = Talk()
    for _ in range(30):
        talk.round()
    sent = talk.say(1)
    header = RATCHET_HEADER.decode(sent.envelope.header)
    epoch = talk.epochs()[0]
    for forged in (epoch - 1, epoch + 1, epoch + 2, 2**32 - 1):
        place = encode_pq_message(PqMessage(forged, 2**32 - 1))
        envelope = sent.envelope._replace(header=encode(header._replace(pq_message=place)))
        with pytest.raises(AuthenticationError, match="epoch"):
            decrypt(talk.sides[0], sent.envelope_id, envelope)


def test_roots_take_in_the_waiting_epoch_and_no_other() -> None:
    key = EpochKey(b"k" * 32)
    roots = RootKeys(ROOTS.ec, ROOTS.pq, 4, key)
    for epoch in (3, 6):
        with pytest.raises(AuthenticationError):
            new_chain(roots, bytes(32), epoch)
    with pytest.raises(AuthenticationError):
        new_chain(roots._replace(waiting=None), bytes(32), 5)
    kept, kept_chain = new_chain(roots, bytes(32), 4)
    taken, taken_chain = new_chain(roots, bytes(32), 5)
    assert (kept.epoch, kept.waiting) == (4, key)
    assert (taken.epoch, taken.waiting) == (5, None)
    assert taken.ec == kept.ec
    assert taken.pq != kept.pq
    assert taken_chain.pq != kept_chain.pq


def with_waiting(state: RatchetState) -> RatchetState:
    """Return a state as a faulty peer can make it: it has an epoch that no chain takes in."""
    return state._replace(roots=state.roots._replace(waiting=EpochKey(b"w" * 32)))


def test_while_an_epoch_waits_no_second_one_is_made() -> None:
    ours, theirs = pair()
    ours, message = give(ours)
    theirs = take(theirs, message)
    for _ in range(KEY_CHUNKS):
        theirs, message = give(theirs)
        ours = take(ours, message)
    ours, message = give(ours)
    assert isinstance(ours.pq.stage, Answering)
    theirs = take(theirs, message)
    for _ in range(CIPHERTEXT_CHUNKS - 2):
        ours, message = give(ours)
        theirs = take(theirs, message)
    ours, last = give(ours)
    held = take(with_waiting(theirs), last)
    assert held.pq == theirs.pq
    assert held.roots.waiting == b"w" * 32
    assert take(theirs, last).pq.epoch == 1


def test_while_an_epoch_waits_in_a_chain_that_goes_on_nothing_is_encapsulated() -> None:
    ours, theirs = pair()
    ours, message = give(ours)
    theirs, first = give(take(theirs, message))
    ours = take(ours, first)
    ours, message = give(ours)
    theirs = take(theirs, message)
    theirs, other = give(theirs)
    turning = take(ours, other)
    for _ in range(KEY_CHUNKS - 3):
        theirs, message = give(theirs)
        ours, turning = take(ours, message), take(turning, message)
    ours, _ = give(take(ours, other))
    theirs, message = give(theirs)
    for state in (take(ours, message), take(turning, message)):
        assert ratchet.keys_wanted(state).encapsulate_to is not None
    going_on = with_waiting(take(ours, message))
    assert ratchet.keys_wanted(going_on) == (False, False, None)
    sent, position, _ = ratchet.send(going_on)
    assert position.pq.chunk is None
    assert sent.pq == going_on.pq
    turning = with_waiting(take(turning, message))
    turning = turning._replace(pq=turning.pq._replace(epoch=1))
    assert ratchet.keys_wanted(turning).encapsulate_to is not None
    answered, _ = give(turning)
    assert isinstance(answered.pq.stage, Answering)
    assert (answered.roots.epoch, answered.pq.epoch) == (1, 2)


def test_the_first_chunk_of_a_ciphertext_comes_with_the_first_answer() -> None:
    talk = Talk()
    for _ in range(KEY_CHUNKS):
        talk.hear(0, talk.say(1))
    sent = talk.say(0)
    chunk = pq_of(sent).chunk
    assert chunk is not None
    assert (chunk.part, chunk.number) == (PqPart.CIPHERTEXT, 0)
