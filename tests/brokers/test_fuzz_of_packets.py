"""A slice of ``make fuzz-broker``: A45 and R18."""

from pathlib import Path

import pytest

from tests.brokers.packet_fuzz import MODES, fuzz, logins
from tests.brokers.packet_mutator import Mutator

BENT = 1000
KEPT_SEEDS = (45,)
"""Seeds that found something once stay here, beside the first."""


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", KEPT_SEEDS)
async def test_a45_malformed_packets_leave_the_broker_alive_and_its_clients_served(
    tmp_path: Path, mode: str, seed: int
) -> None:
    print(f"{mode}: seed {seed}")
    found = await fuzz(mode, seed, BENT, tmp_path)
    assert found.bent >= BENT
    assert found.wrong == ()


def test_the_same_seed_draws_the_same_packets_and_another_does_not() -> None:
    first, again, other = (Mutator(seed, logins("devices")) for seed in (7, 7, 8))
    drawn = [first.conversation() for _ in range(50)]
    assert drawn == [again.conversation() for _ in range(50)]
    assert drawn != [other.conversation() for _ in range(50)]
