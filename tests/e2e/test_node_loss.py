"""A cluster loses a node: a short round; the long ones, with figures, are `make cluster`."""

from pathlib import Path

import pytest

from client_sdk import Messenger
from tests.brokers.other_brokers import require_program
from tests.e2e.node_loss import Line, Plan, Run, lose_a_node, running_system


@pytest.mark.long
@pytest.mark.timeout(420)
async def test_a_cluster_that_loses_the_receivers_node_hands_over_everything_once(
    tmp_path: Path,
) -> None:
    plan = Plan(texts=300, lost_at=100, back_at=200, victim="receiver")
    async with running_system(tmp_path, require_program("nats")) as system:
        async with Messenger.open(system.store(system.patient), online=False) as before:
            first = await before.broker_url()
        run = await lose_a_node(system, plan)
        async with Messenger.open(system.store(system.patient), online=False) as after:
            assert await after.broker_url() in set(system.cluster.urls) - {first}
    run.check()
    assert run.receiver.back_after(run.lost_at) > 0
    print(f"hand-over stood still for {run.receiver.stall(run.lost_at):.1f} s")


TEXTS = [f"text {number}" for number in range(4)]


@pytest.mark.parametrize(
    ("handed", "gaps"),
    [
        pytest.param(TEXTS[:3], 0, id="the last is lost"),
        pytest.param(TEXTS[:3], 1, id="a gap excuses no loss"),
        pytest.param([*TEXTS, TEXTS[3]], 1, id="one comes twice"),
        pytest.param([TEXTS[0], TEXTS[2], TEXTS[1], TEXTS[3]], 0, id="two change places"),
    ],
)
def test_the_check_sees_what_went_wrong(handed: list[str], gaps: int) -> None:
    run = run_of(handed, gaps)
    with pytest.raises(AssertionError):
        run.check()


def test_the_check_takes_what_is_right_and_an_order_that_a_gap_excuses() -> None:
    run_of(TEXTS, 0).check()
    run_of([TEXTS[0], TEXTS[2], TEXTS[1], TEXTS[3]], 1).check()


def timed() -> Run:
    """Return a run of 10 texts a second that stands still from second 100 to 104."""
    before = [90 + number / 10 for number in range(100)]
    after = [104 + number / 10 for number in range(100)]
    receiver = Line(None, [(89.0, True), (100.5, False), (102.0, True)], before + after)  # type: ignore[arg-type]
    sender = Line(None, [(89.0, True)], [at + 0.01 for at in receiver.progress])  # type: ignore[arg-type]
    return Run(Plan(200), sender, receiver, lost_at=100.0, back_at=110.0)


def test_pauses_and_rates_are_counted_from_the_loss() -> None:
    run = timed()
    assert run.receiver.stall(run.lost_at) == pytest.approx(4.1)
    assert run.receiver.back_after(run.lost_at) == pytest.approx(2.0)
    assert run.sender.back_after(run.lost_at) == 0  # it stayed connected
    assert run.rate_before == pytest.approx(10)
    assert run.recovered_after() == pytest.approx(4.0)
    assert run.rate(run.back_at, 112.0) == pytest.approx(10)


def run_of(handed: list[str], gaps: int) -> Run:
    nobody = Line(None)  # type: ignore[arg-type] # nothing is sent
    return Run(Plan(len(TEXTS)), nobody, nobody, sent=list(TEXTS), handed=handed, gaps=gaps)
