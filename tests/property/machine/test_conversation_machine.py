"""R9: whatever network, user and directory do, no wrong text, none twice, and none lost.

The rules are the alphabet. ``make attacks`` runs it for longer; hypothesis prints the steps of a
failure, which are its seed.
"""

import os

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.property.machine.conversation import Conversation, Device, Snapshot

FULL = os.environ.get("RATCHETMQ_FULL", "") not in {"", "0"}
pytestmark = pytest.mark.timeout(3600 if FULL else 120)

who = st.integers(0, 1)
some = st.integers(0, 1_000)


class ConversationMachine(RuleBasedStateMachine):
    """Steps of two devices; a step that needs something does nothing without it."""

    @initialize(careless=st.sampled_from([False, False, True]))
    def meet(self, careless: bool) -> None:
        """Two of three runs stay where everything has to arrive; the third may forget."""
        self.talk, self.careless = Conversation(), careless
        self.snapshots: dict[int, Snapshot] = {}

    def device(self, index: int) -> Device:
        return self.talk.devices[index]

    @rule(index=who, count=st.integers(0, 32))
    def send(self, index: int, count: int) -> None:
        self.talk.send(self.device(index), count)

    @rule(index=who)
    def answer(self, index: int) -> None:
        self.talk.answer(self.device(index))

    @precondition(lambda self: self.talk.mail)
    @rule(at=some, count=st.integers(1, 24))
    def receive(self, at: int, count: int) -> None:
        for _ in range(min(count, len(self.talk.mail))):
            mail = self.talk.mail.pop(at % len(self.talk.mail))
            if not self.talk.receive(mail):
                self.talk.lost.append(mail)

    @precondition(lambda self: self.talk.mail)
    @rule(at=some)
    def drop(self, at: int) -> None:
        self.talk.lost.append(self.talk.mail.pop(at % len(self.talk.mail)))

    @precondition(lambda self: self.talk.mail)
    @rule(at=some)
    def duplicate(self, at: int) -> None:
        self.talk.mail.append(self.talk.mail[at % len(self.talk.mail)])

    @rule(seed=some)
    def shuffle(self, seed: int) -> None:
        self.talk.shuffle(seed)

    @precondition(lambda self: self.careless or self.talk.room)
    @rule(index=who)
    def archive(self, index: int) -> None:
        self.talk.forced = True
        self.talk.archive(self.device(index))

    @precondition(lambda self: self.careless or self.talk.room)
    @rule(index=who)
    def initiate(self, index: int) -> None:
        self.talk.forced = True
        self.talk.begin(self.device(index))

    @rule(index=who)
    def rotate(self, index: int) -> None:
        self.device(index).rotate()

    @rule(index=who)
    def exhaust(self, index: int) -> None:
        self.device(index).exhaust()

    @rule(index=who)
    def snapshot(self, index: int) -> None:
        self.snapshots[index] = self.device(index).snapshot()

    @precondition(lambda self: self.careless and self.snapshots)
    @rule(index=who)
    def restore(self, index: int) -> None:
        if index in self.snapshots:
            self.device(index).restore(self.snapshots[index])
            self.talk.restored = True

    @rule()
    def settle(self) -> None:
        self.talk.settle()

    @invariant()
    def nothing_is_shown_twice(self) -> None:
        for device in self.talk.devices:
            assert len(set(device.shown)) == len(device.shown)

    def teardown(self) -> None:
        if hasattr(self, "talk"):
            self.talk.talk()


TestConversation = ConversationMachine.TestCase
TestConversation.settings = settings(
    max_examples=2_000 if FULL else 30, stateful_step_count=60 if FULL else 30
)
