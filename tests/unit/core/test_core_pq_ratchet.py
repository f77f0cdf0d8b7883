"""The post-quantum ratchet alone: when an epoch begins, what stops it, and what cannot."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from client_sdk.core import pq_ratchet
from client_sdk.core.errors import InvalidKeyError
from client_sdk.core.fresh_keys import NO_KEYS, FreshKeys, WantedKeys
from client_sdk.core.kdf import EpochKey, epoch_key
from client_sdk.core.kem_keys import MlKem768KeyPair, parse_ml_kem_768
from client_sdk.core.pq_ratchet import (
    CIPHERTEXT_CHUNKS,
    KEY_CHUNKS,
    Answering,
    Collecting,
    Drawing,
    Offering,
    PqRatchet,
    encapsulation_wanted,
    kem_pair_wanted,
    sending_epoch,
    start_initiator,
    start_responder,
)
from client_sdk.wire.errors import MisuseError
from client_sdk.wire.pq_message import MAX_EPOCH, PQ_CHUNKS, PqChunk, PqMessage, PqPart
from tests.vectors.core_parties import Keys

KEYS = Keys(b"post-quantum ratchet")
Keep = Callable[[PqMessage], bool]


def fresh_for(state: PqRatchet) -> FreshKeys:
    key = encapsulation_wanted(state)
    return KEYS.fresh(WantedKeys(kem_pair=kem_pair_wanted(state), encapsulate_to=key))


class Talk:
    """Both sides, with every epoch key that each gave out; side 0 is the initiator."""

    def __init__(self) -> None:
        self.sides = [start_initiator(), start_responder()]
        self.keys: list[dict[int, EpochKey]] = [{}, {}]
        self.messages = 0
        self.drawn: list[int] = []

    def send(self, side: int) -> PqMessage:
        before = self.sides[side]
        self.drawn += [side] * kem_pair_wanted(before)
        sent = pq_ratchet.send(before, fresh_for(before), sending_epoch(before))
        self.sides[side] = sent.state
        self._keep(side, sent.key)
        assert sent.epoch == sent.message.epoch == sending_epoch(sent.state)
        self.messages += 1
        return sent.message

    def receive(self, side: int, message: PqMessage) -> None:
        received = pq_ratchet.receive(self.sides[side], message)
        self.sides[side] = received.state
        assert received.epoch == message.epoch
        assert message.epoch in {0, *self.keys[side]}
        self._keep(side, received.key)

    def turn(self, keep: Keep = lambda _: True) -> None:
        """One message each way; ``keep`` says which arrive."""
        for side in (0, 1):
            message = self.send(side)
            if keep(message):
                self.receive(1 - side, message)

    def _keep(self, side: int, key: EpochKey | None) -> None:
        if key is None:
            return
        epoch = self.sides[side].epoch
        assert epoch not in self.keys[side]
        self.keys[side][epoch] = key
        other = self.keys[1 - side].get(epoch)
        assert other in {None, key}

    @property
    def epoch(self) -> int:
        return min(side.epoch for side in self.sides)


def test_key_and_ciphertext_have_thirteen_and_twelve_chunks() -> None:
    assert (KEY_CHUNKS, CIPHERTEXT_CHUNKS) == (13, 12)


def test_every_epoch_takes_at_most_fifty_messages_and_both_sides_agree() -> None:
    talk, finished = Talk(), 0
    for epoch in range(1, 7):
        while not (talk.epoch == epoch and all(sending_epoch(one) == epoch for one in talk.sides)):
            talk.turn()
        assert talk.messages - finished <= 50
        finished = talk.messages
    assert talk.keys[0] == talk.keys[1]
    assert len(set(talk.keys[0].values())) == 6


def test_both_sides_take_turns_in_drawing_the_key_pair() -> None:
    talk = Talk()
    for _ in range(110):
        talk.turn()
    assert talk.drawn == [1, 0, 1, 0, 1]


def test_one_way_traffic_keeps_the_epoch_and_never_ends() -> None:
    for side in (0, 1):
        talk = Talk()
        for _ in range(3 * PQ_CHUNKS):
            talk.receive(1 - side, talk.send(side))
        assert [one.epoch for one in talk.sides] == [0, 0]
        talk.turn()
        while talk.epoch == 0:
            talk.turn()
        assert talk.messages <= 3 * PQ_CHUNKS + 52


@pytest.mark.parametrize("number", range(PQ_CHUNKS))
def test_dropping_one_chunk_number_for_ever_stops_no_epoch(number: int) -> None:
    talk = Talk()
    for _ in range(70):
        talk.turn(lambda message: message.chunk is None or message.chunk.number != number)
    assert talk.epoch >= 2
    assert talk.keys[0][2] == talk.keys[1][2]


def test_only_dropping_all_but_a_dozen_numbers_stops_it() -> None:
    def keep(numbers: range) -> Keep:
        return lambda message: message.chunk is None or message.chunk.number in numbers

    for numbers, reached in ((range(40, 40 + KEY_CHUNKS - 1), 0), (range(40, 40 + KEY_CHUNKS), 1)):
        talk = Talk()
        for _ in range(3 * PQ_CHUNKS):
            talk.turn(keep(numbers))
        assert min(talk.epoch, 1) == reached


def test_the_key_is_sent_in_turn_until_it_is_answered() -> None:
    talk = Talk()
    numbers = []
    for _ in range(PQ_CHUNKS + 2):
        chunk = talk.send(1).chunk
        assert chunk is not None
        assert chunk.part == PqPart.ENCAPSULATION_KEY
        numbers.append(chunk.number)
    assert numbers == [*range(PQ_CHUNKS), 0, 1]
    talk = Talk()
    while not isinstance(talk.sides[0].stage, Answering):
        talk.turn()
    assert talk.send(1).chunk is None


def to_answering() -> Talk:
    talk = Talk()
    for _ in range(KEY_CHUNKS):
        talk.receive(0, talk.send(1))
    assert encapsulation_wanted(talk.sides[0]) is not None
    return talk


def test_the_answer_goes_out_until_the_peer_has_the_epoch() -> None:
    talk = to_answering()
    for number in range(PQ_CHUNKS + 1):
        chunk = talk.send(0).chunk
        assert chunk is not None
        assert (chunk.part, chunk.number) == (PqPart.CIPHERTEXT, number % PQ_CHUNKS)
    assert (talk.sides[0].epoch, sending_epoch(talk.sides[0])) == (1, 0)
    while talk.sides[1].epoch == 0:
        talk.receive(1, talk.send(0))
    assert (talk.sides[1].epoch, sending_epoch(talk.sides[1])) == (1, 1)
    talk.receive(0, talk.send(1))
    assert (talk.sides[0], sending_epoch(talk.sides[0])) == (PqRatchet(1, Drawing()), 1)


def test_a_step_without_what_it_wants_is_misuse() -> None:
    talk = to_answering()
    for state in (start_responder(), talk.sides[0]):
        with pytest.raises(MisuseError):
            pq_ratchet.send(state, NO_KEYS)


def test_no_secret_is_made_or_taken_while_the_one_before_waits() -> None:
    talk = to_answering()
    state = talk.sides[0]
    assert pq_ratchet.send(state, NO_KEYS, room=False) == (state, PqMessage(0, 0), 0, None)
    chunks = [talk.send(0) for _ in range(CIPHERTEXT_CHUNKS)]
    for message in chunks[:-1]:
        talk.receive(1, message)
    state = talk.sides[1]
    full = pq_ratchet.receive(state, chunks[-1], room=False)
    assert full.state is state
    assert full.key is None
    assert pq_ratchet.receive(state, chunks[-1], room=True).key == talk.keys[0][1]


def test_repeated_foreign_and_late_chunks_change_nothing() -> None:
    talk = Talk()
    first = talk.send(1)
    talk.receive(0, first)
    chunk = first.chunk
    assert chunk is not None
    state = talk.sides[0]
    for message in (
        first,
        first._replace(newest=1),
        PqMessage(0, 0, chunk._replace(part=PqPart.CIPHERTEXT)),
        PqMessage(0, 1, chunk._replace(part=PqPart.CIPHERTEXT)),
        PqMessage(0, 5),
    ):
        assert pq_ratchet.receive(state, message).state is state
    offering = talk.sides[1]
    answer = PqChunk(PqPart.CIPHERTEXT, 3, bytes(96))
    for message in (first, PqMessage(0, 0, answer), PqMessage(0, 2, answer), PqMessage(0, 1)):
        assert pq_ratchet.receive(offering, message).state is offering
    taken = pq_ratchet.receive(offering, PqMessage(0, 1, answer)).state
    assert pq_ratchet.receive(taken, PqMessage(0, 1, answer)).state is taken
    while talk.epoch == 0:
        talk.turn()
    for side in (0, 1):
        state = talk.sides[side]
        assert pq_ratchet.receive(state, first).state is state


def test_chunks_after_the_whole_key_change_nothing() -> None:
    talk = to_answering()
    state = talk.sides[0]
    assert pq_ratchet.receive(state, talk.send(1)).state is state


def test_a_key_that_is_none_is_forgotten_and_another_may_come() -> None:
    state = start_initiator()
    for number in range(KEY_CHUNKS):
        chunk = PqChunk(PqPart.ENCAPSULATION_KEY, number, b"\xff" * 96)
        state = pq_ratchet.receive(state, PqMessage(0, 0, chunk)).state
    assert state == start_initiator()


def test_a_changed_chunk_leads_to_different_keys_and_never_to_an_error() -> None:
    talk = to_answering()
    first = talk.send(0)
    assert first.chunk is not None
    torn = first.chunk._replace(data=bytes(96))
    talk.sides[1] = pq_ratchet.receive(talk.sides[1], first._replace(chunk=torn)).state
    key = None
    while key is None:
        received = pq_ratchet.receive(talk.sides[1], talk.send(0))
        talk.sides[1], key = received.state, received.key
    assert key != talk.keys[0][1]


def test_the_epochs_key_is_bound_to_key_and_ciphertext() -> None:
    talk = to_answering()
    offered = talk.sides[1].stage
    assert isinstance(offered, Offering)
    talk.send(0)
    answer = talk.sides[0].stage
    assert isinstance(answer, Answering)
    secret = offered.pair.decapsulate(answer.ciphertext)
    expected = epoch_key(secret, 1, offered.pair.public + answer.ciphertext)
    assert talk.keys[0][1] == expected


def test_no_epoch_comes_after_the_last() -> None:
    last, before = PqRatchet(MAX_EPOCH, Drawing()), PqRatchet(MAX_EPOCH - 1, Drawing())
    assert kem_pair_wanted(before)
    assert not kem_pair_wanted(last)
    assert pq_ratchet.send(last, NO_KEYS).state is last
    chunk = PqChunk(PqPart.ENCAPSULATION_KEY, 0, bytes(96))
    collecting = PqRatchet(MAX_EPOCH, Collecting())
    message = PqMessage(0, MAX_EPOCH, chunk)
    assert pq_ratchet.receive(collecting, message).state is collecting
    collecting = PqRatchet(MAX_EPOCH - 1, Collecting())
    message = message._replace(newest=MAX_EPOCH - 1)
    assert pq_ratchet.receive(collecting, message).state is not collecting


def test_a53_no_secret_shows_in_a_repr() -> None:
    talk = to_answering()
    stage = talk.sides[1].stage
    assert isinstance(stage, Offering)
    answered = pq_ratchet.send(talk.sides[0], fresh_for(talk.sides[0]))
    received = pq_ratchet.receive(talk.sides[1], talk.send(0))
    assert answered.key is not None
    shown = repr((talk.sides, stage, answered, received))
    for secret in (stage.pair.seed, answered.key):
        assert repr(secret)[2:-1] not in shown


def test_a1_bad_kem_keys_are_refused() -> None:
    pair = KEYS.ml_kem_768()
    assert parse_ml_kem_768(pair.public) is not None
    for bad in (b"", pair.public[:-1], b"\x04" + pair.public[1:], b"\x03" + b"\xff" * 1184):
        with pytest.raises(InvalidKeyError):
            parse_ml_kem_768(bad)
    for size in (63, 65):
        with pytest.raises(InvalidKeyError):
            MlKem768KeyPair.from_seed(bytes(size))
    for size in (1087, 1089):
        with pytest.raises(InvalidKeyError):
            pair.decapsulate(bytes(size))
    assert replace(pair, seed=b"other") == pair
