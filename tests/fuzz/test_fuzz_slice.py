"""A short slice of ``make fuzz`` without atheris: bytes at random, and honest inputs bent."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.mutator import mutated
from tests.fuzz.targets import TARGETS, run


@st.composite
def bent(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """Return an honest input with a field, or a few bytes, changed, cut out or put in."""
    data = draw(st.sampled_from(seeds))
    if draw(st.booleans()):
        return mutated(data, draw(st.integers(0, 2**32))) or data
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        end = draw(st.integers(at, min(at + 8, len(data))))
        put = draw(st.binary(max_size=8) | st.just(data[at:end] * 2))
        data = data[:at] + put + data[end:]
    return data


@pytest.mark.parametrize("name", TARGETS)
def test_every_honest_input_is_accepted(name: str) -> None:
    target = TARGETS[name]
    for seed in target.seeds:
        assert run(target, seed)


@pytest.mark.parametrize("name", TARGETS)
def test_garbage_is_answered_with_the_documented_error_and_nothing_else(name: str) -> None:
    target = TARGETS[name]

    @settings(max_examples=25)
    @given(st.binary(max_size=200) | bent(target.seeds))
    def garbage(data: bytes) -> None:
        run(target, data)

    garbage()
