"""The table of `make cluster` has a cell for every round; the rounds are in tests/e2e."""

from tests.bench.cluster import loss_rows
from tests.e2e.test_node_loss import timed


def test_every_round_has_a_cell_in_every_row() -> None:
    rows = {title: cells for title, *cells in loss_rows([timed(), timed()])}
    assert all(len(cells) == 2 for cells in rows.values())
    assert rows["longest pause of hand-over, s"] == ["4.10", "4.10"]
    assert rows["sender back on a node after, s"] == ["stayed connected"] * 2
    assert rows["receiver back on a node after, s"] == ["2.00"] * 2
    assert rows["texts/s before the loss"] == ["10"] * 2
