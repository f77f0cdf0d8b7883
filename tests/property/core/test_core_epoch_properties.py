"""Epochs under any loss, order, repetition and restart: both sides always agree."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client_sdk.core.pq_ratchet import sending_epoch
from client_sdk.core.session import Session
from client_sdk.core.session_record import SessionRecord
from client_sdk.core.state_format import parse_record, serialize_record
from client_sdk.wire.errors import ProtocolError
from tests.vectors.core_parties import Keys, Party, Sent, accept_first, receive, send, start

ALICE, BOB = Party("alice"), Party("bob")
PARTIES = (ALICE, BOB)
MAX_SESSION_BYTES = 4096
SKIPPED_BYTES = 60


def restarted(session: Session) -> Session:
    data = serialize_record(SessionRecord(session))
    restored = parse_record(data).current
    assert restored == session
    assert serialize_record(SessionRecord(restored)) == data
    return restored


class Network:
    """Two sessions and what lies between them; chance decides, from one seed."""

    def __init__(self, seed: int, loss: float, restarts: float) -> None:
        self.chance, self.loss, self.restarts = random.Random(seed), loss, restarts
        self.keys = Keys(b"epochs")
        ours, first = send(start(ALICE, BOB), self.keys)
        self.sides = [ours, accept_first(BOB, ALICE, first)[0]]
        self.waiting: list[list[Sent]] = [[], []]

    def step(self) -> None:
        side = self.chance.randrange(2)
        if self.chance.random() < self.restarts:
            self.sides[side] = restarted(self.sides[side])
        if self.chance.random() < 0.5:
            self.say(side)
        elif self.waiting[side]:
            at = self.chance.randrange(min(len(self.waiting[side]), 8))
            self.hear(side, self.waiting[side].pop(at))

    def say(self, side: int) -> None:
        self.sides[side], sent = send(self.sides[side], self.keys)
        if self.chance.random() >= self.loss:
            self.waiting[1 - side].append(sent)
        self.check(side)

    def hear(self, side: int, sent: Sent) -> None:
        self.sides[side], text = receive(self.sides[side], sent)
        assert text == "text"
        if self.chance.random() < 0.1:
            before = serialize_record(SessionRecord(self.sides[side]))
            with pytest.raises(ProtocolError):
                receive(self.sides[side], sent)
            assert serialize_record(SessionRecord(self.sides[side])) == before
        self.check(side)

    def check(self, side: int) -> None:
        state, other = self.sides[side].ratchet, self.sides[1 - side].ratchet
        assert state.pq.epoch - state.roots.epoch == (state.roots.waiting is not None)
        assert abs(state.pq.epoch - other.pq.epoch) <= 1
        assert sending_epoch(state.pq) <= other.pq.epoch
        kept = sum(len(chain.skipped) for chain in state.closed)
        kept += len(state.receiving.skipped) if state.receiving else 0
        size = len(serialize_record(SessionRecord(self.sides[side])))
        assert size <= MAX_SESSION_BYTES + SKIPPED_BYTES * kept

    def rounds(self, count: int) -> None:
        """Let everything through."""
        for _ in range(count):
            for side in (0, 1):
                self.say(side)
                while self.waiting[1 - side]:
                    self.hear(1 - side, self.waiting[1 - side].pop(0))


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32), st.sampled_from([0.0, 0.1, 0.4, 0.8]), st.sampled_from([0.0, 0.1, 1.0])
)
def test_whatever_the_network_does_every_message_opens_and_epochs_agree(
    seed: int, loss: float, restarts: float
) -> None:
    net = Network(seed, loss, restarts)
    for _ in range(250):
        net.step()
    net.loss = 0.0
    net.rounds(1)
    before = max(one.ratchet.pq.epoch for one in net.sides)
    net.rounds(27)
    assert min(one.ratchet.roots.epoch for one in net.sides) >= before
    net.rounds(25)
    assert min(one.ratchet.roots.epoch for one in net.sides) > before
    assert net.sides[0].ratchet.roots.pq == net.sides[1].ratchet.roots.pq
