"""Nothing is lost when programs are killed; and the harness would see it if something were."""

import random
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.chaos import Chaos, Plan
from tests.e2e.clinic import Clinic, User
from tests.e2e.ledger import Ledger, LedgerError, Printed, check
from tests.e2e.programs import Program, ratchetmq, run

ENROLMENTS = 40


@pytest.mark.long
@pytest.mark.timeout(240)
def test_killing_server_send_and_listen_loses_and_reorders_nothing(tmp_path: Path) -> None:
    plan = Plan(texts=100, kills=8, seconds=150, seed=random.SystemRandom().randrange(10_000))
    print(plan)
    chaos = Chaos(tmp_path, plan)
    outcome = chaos.run()
    assert outcome.sent == plan.texts
    assert min(outcome.kills[victim] for victim in plan.victims) > 0
    spoilt = replace(chaos.ledgers[0], printed=chaos.ledgers[0].printed[:])
    del spoilt.printed[len(spoilt.printed) // 2]
    with pytest.raises(LedgerError):
        check(spoilt)


def lines(*numbers: int, run: int = 0) -> list[Printed]:
    return [Printed(run, f"id {number}", number, f"text {number}") for number in numbers]


SENT = [(f"id {number}", f"text {number}") for number in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    "printed",
    [
        pytest.param(lines(1, 2, 4), id="one is lost"),
        pytest.param(lines(1, 2, 3), id="the last is lost"),
        pytest.param(lines(1, 3, 2, 4), id="two change places"),
        pytest.param(lines(1, 2, 2, 3, 4), id="one comes twice from one listener"),
        pytest.param([*lines(1, 2), *lines(1, 2, 3, 4, run=1)], id="two are printed again"),
        pytest.param([*lines(1, 2, 3), *lines(4, 2, run=1)], id="an old one is printed again"),
        pytest.param([*lines(1, 2, 3, 4), Printed(0, "id 5", 5, "forged")], id="one is invented"),
        pytest.param([*lines(1, 2, 3), Printed(0, "id 4", 4, "other")], id="one is changed"),
    ],
)
def test_the_ledger_sees_what_went_wrong(printed: list[Printed]) -> None:
    with pytest.raises(LedgerError):
        check(Ledger(SENT, set(), printed))


def test_the_ledger_accepts_a_repeat_at_a_kill_and_a_text_that_was_under_way() -> None:
    assert check(Ledger(SENT, set(), lines(1, 2, 3, 4))) == 0
    repeated = [*lines(1, 2), *lines(2, run=1), *lines(2, 3, 4, run=2)]
    assert check(Ledger(SENT, set(), repeated)) == 2
    doubtful = [*lines(1, 2, 3, 4), Printed(0, "id 5", 5, "under way")]
    assert check(Ledger(SENT, {"under way"}, doubtful)) == 0


@pytest.mark.long
@pytest.mark.timeout(200)
def test_killing_enroll_anywhere_is_healed_by_calling_it_again(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(10_000)
    print(f"seed {seed}")
    source = random.Random(seed)
    with Clinic(tmp_path) as clinic:
        doctor = clinic.doctor()
        patient = User("late", tmp_path / "late.db")
        invitation = clinic.invitation("late", "patient")
        killed = 0
        for number in range(ENROLMENTS):
            patience = 0.5 + 0.05 * number + source.uniform(0, 0.1)
            if enrol_for(patience, invitation, patient):
                break
            killed += 1
            if number == 10:
                clinic.kill()
                clinic.start()
        assert 0 < killed < ENROLMENTS
        again = run("enroll", invitation, "--store", str(patient.store), "--json")
        assert (again.code, again.row["address"]) == (0, "late-1")
        other = run("enroll", invitation, "--store", str(tmp_path / "other.db"))
        assert other.code == 2
        assert doctor.run("send", "late", "welcome").code == 0
        assert patient.run("listen", "--count", "1", "--timeout", "20").row["text"] == "welcome"


def enrol_for(seconds: float, invitation: str, patient: User) -> bool:
    """Enrol, and kill it after so many seconds; tell whether it was done before."""
    command = ratchetmq("enroll", invitation, "--store", str(patient.store), "--json")
    with Program(command) as program:
        try:
            ended = program.wait(seconds)
        except TimeoutError:
            program.send_signal(signal.SIGKILL)
            program.wait()
            return False
    assert (ended.code, ended.row["address"]) == (0, patient.address), ended.err
    return True
