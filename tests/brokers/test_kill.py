"""A slice of ``make kill-broker``, with the control that shows that the harness sees losses."""

from pathlib import Path

import pytest

from tests.brokers.kill import kill_once

PUBLISHES = 600


@pytest.mark.parametrize("seed", [1, 2])
async def test_kill_nine_loses_nothing_that_was_acknowledged(tmp_path: Path, seed: int) -> None:
    outcome = await kill_once("ours", seed, PUBLISHES, tmp_path)
    assert outcome.kept > 0
    assert outcome.lost == 0


async def test_kill_nine_loses_all_that_plain_amqtt_acknowledged(tmp_path: Path) -> None:
    outcome = await kill_once("plain amqtt", 3, PUBLISHES, tmp_path)
    assert outcome.lost == outcome.kept > 0
