"""R9: whatever network, users and directory do, no wrong text, none twice, and none lost.

The rules are the alphabet; each device is the real store and the real parts of delivery, one step
at a time. ``make attacks`` runs it for longer; hypothesis prints the steps of a failure, which are
its seed.
"""

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.conftest import FULL
from tests.property.machine.home import Home
from tests.property.machine.world import World

pytestmark = pytest.mark.timeout(7200 if FULL else 120)

who = st.integers(0, 5)
some = st.integers(0, 1_000)


class ConversationMachine(RuleBasedStateMachine):
    """Steps of all devices; a step that needs something does nothing without it."""

    @initialize(careless=st.booleans(), devices=st.integers(0, 2))
    def meet(self, careless: bool, devices: int) -> None:
        """Half of the runs stay where nobody forgets anything."""
        self.world, self.careless = World(), careless
        for number in range(devices):
            self.world.add_device(self.home(number), as_manager=bool(number))

    def home(self, index: int) -> Home:
        return self.world.homes[index % len(self.world.homes)]

    @rule(index=who, count=st.integers(0, 32))
    def send(self, index: int, count: int) -> None:
        self.world.send(self.home(index), count)

    @rule(index=who)
    def say(self, index: int) -> None:
        """Let a device do what is due: receipts, copies, late messages, healing."""
        self.world.publish(self.home(index))

    @precondition(lambda self: self.world.mail)
    @rule(at=some, count=st.integers(1, 24))
    def receive(self, at: int, count: int) -> None:
        for _ in range(min(count, len(self.world.mail))):
            self.world.deliver(self.world.mail.pop(at % len(self.world.mail)))

    @precondition(lambda self: self.world.mail)
    @rule(at=some)
    def drop(self, at: int) -> None:
        mail = self.world.mail.pop(at % len(self.world.mail))
        self.world.kept.pop(mail.topic, None)

    @precondition(lambda self: self.world.mail)
    @rule(at=some)
    def duplicate(self, at: int) -> None:
        self.world.mail.append(self.world.mail[at % len(self.world.mail)])

    @rule(seed=some)
    def shuffle(self, seed: int) -> None:
        self.world.shuffle(seed)

    @rule(index=who)
    def archive(self, index: int) -> None:
        home = self.home(index)
        self.world.archive(home, self.world.other(home.user))

    @rule(index=who, at=who)
    def initiate(self, index: int, at: int) -> None:
        self.world.initiate(self.home(index), self.home(at))

    @rule(index=who)
    def rotate(self, index: int) -> None:
        self.world.run(self.home(index).rotate())

    @rule(index=who)
    def exhaust(self, index: int) -> None:
        self.home(index).exhaust()

    @rule(index=who, as_manager=st.booleans())
    def add_device(self, index: int, as_manager: bool) -> None:
        self.world.add_device(self.home(index), as_manager=as_manager)

    @rule(index=who, at=who)
    def remove_device(self, index: int, at: int) -> None:
        manager = self.home(index)
        others = [one for one in self.world.homes_of(manager.user) if one is not manager]
        if others:
            self.world.remove_device(manager, others[at % len(others)])

    @rule(index=who)
    def snapshot(self, index: int) -> None:
        self.world.take_backup(self.home(index))

    @precondition(lambda self: self.careless and self.world.backups)
    @rule(index=who)
    def restore(self, index: int) -> None:
        self.world.restore(self.home(index))

    @rule()
    def settle(self) -> None:
        self.world.settle()
        self.world.check()

    @invariant()
    def a_removed_device_gets_no_mail(self) -> None:
        if hasattr(self, "world"):
            addresses = {one.address for one in self.world.removed}
            listed = {one.address for one in self.world.homes}
            assert not addresses & listed

    def teardown(self) -> None:
        if hasattr(self, "world"):
            try:
                self.world.talk()
            finally:
                self.world.close()


TestConversation = ConversationMachine.TestCase
TestConversation.settings = settings(
    max_examples=1_000 if FULL else 12,
    stateful_step_count=60 if FULL else 25,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
    # A failure is told at once in the suite, and made small where there is time for it.
    phases=tuple(Phase) if FULL else (Phase.explicit, Phase.reuse, Phase.generate),
)
