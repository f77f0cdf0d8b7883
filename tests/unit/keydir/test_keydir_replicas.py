"""How replicas divide senders among themselves, and whom they take for alive."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keydir import replicas as replicas_module
from keydir.replicas import ALIVE_MS, FORGET_MS, Replicas, ranked

SENDERS = [f"user{number}-1" for number in range(300)]
names = st.lists(
    st.text("abcdefghij0123456789", min_size=1, max_size=16), min_size=1, max_size=9, unique=True
)


def knowing(name: str, all_names: list[str]) -> Replicas:
    known = Replicas(name)
    known.look(dict.fromkeys(all_names, 1), 0)
    return known


@given(names, st.sampled_from(SENDERS))
def test_exactly_one_replica_is_first_for_a_sender(all_names: list[str], sender: str) -> None:
    first = [name for name in all_names if knowing(name, all_names).is_first(sender)]
    assert len(first) == 1


@given(names, st.sampled_from(SENDERS))
def test_one_that_leaves_changes_nobody_elses_senders(all_names: list[str], sender: str) -> None:
    order = ranked(all_names, sender)
    assert ranked(order[1:], sender) == order[1:]
    assert ranked(reversed(order), sender) == order


def test_each_of_three_answers_about_a_third() -> None:
    counts = [sum(knowing(name, list("abc")).is_first(one) for one in SENDERS) for name in "abc"]
    assert sum(counts) == len(SENDERS)
    assert min(counts) > len(SENDERS) // 5


def test_with_every_repetition_one_more_replica_answers() -> None:
    first, second, third = ranked("abc", "alice-1")
    replicas = {name: knowing(name, list("abc")) for name in "abc"}
    taken = [
        [replicas[name].takes("alice-1", "topic") for name in (first, second, third)]
        for _ in range(4)
    ]
    assert taken == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
        [True, True, True],
    ]
    assert not replicas[second].takes("alice-1", "another topic")


def test_a_replica_is_alive_while_its_number_changes() -> None:
    own = Replicas("a")
    assert own.is_first("alice-1")
    others = [sender for sender in SENDERS if ranked("ab", sender)[0] == "b"]
    own.look({"a": 5, "b": 7}, 0)
    assert not own.is_first(others[0])
    own.look({"a": 6, "b": 7}, ALIVE_MS - 1)
    assert not own.is_first(others[0])
    own.look({"a": 7, "b": 7}, ALIVE_MS)
    assert own.is_first(others[0])
    own.look({"a": 8, "b": 3}, ALIVE_MS + 1)  # started again, whatever its clock says
    assert not own.is_first(others[0])
    own.look({"a": 9}, ALIVE_MS + 2)
    assert own.is_first(others[0])


@pytest.mark.parametrize(("age", "gone"), [(FORGET_MS - 1, ()), (FORGET_MS, ("b",))])
def test_who_is_silent_for_a_minute_is_forgotten(age: int, gone: tuple[str, ...]) -> None:
    own = Replicas("a")
    own.look({"b": 7}, 10)
    assert own.look({"a": 1, "b": 7}, 10 + age) == gone


@pytest.mark.parametrize("more", [0, 1])
def test_only_so_many_requests_of_others_are_remembered(
    monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    monkeypatch.setattr(replicas_module, "MAX_HEARD", 5)
    sender = next(one for one in SENDERS if ranked("ab", one)[0] == "b")
    own = knowing("a", list("ab"))
    for number in range(5 + more):
        assert not own.takes(sender, f"topic {number}")
    assert own.takes(sender, "topic 0") is (more == 0)
