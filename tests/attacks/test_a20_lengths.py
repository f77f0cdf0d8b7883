"""A20: the size of an envelope tells the bucket of its content and nothing else."""

import pytest

from client_sdk.wire.envelope import ENVELOPE, TAG_BYTES
from client_sdk.wire.limits import PADDING_BUCKETS
from tests.attacks.scene import opened_pair
from tests.unit.machine.machine_parties import Party


def size(alice: Party, bob: Party, text: str) -> int:
    """Return the size of the envelope of ``text``, sent from where alice stands now."""
    before = alice.states[bob.user]
    envelope = alice.send(bob, text)
    alice.states[bob.user] = before
    return len(envelope.payload)


@pytest.mark.parametrize(
    ("one", "other"),
    [("yes", "no"), ("", "x" * 60), ("a" * 700, "".join(map(chr, range(192, 542))))],
)
def test_a20_two_answers_of_one_bucket_have_one_size(one: str, other: str) -> None:
    alice, bob = opened_pair()
    assert size(alice, bob, one) == size(alice, bob, other)


def test_a20_nothing_is_compressed_and_every_ciphertext_is_a_bucket_and_a_tag() -> None:
    alice, bob = opened_pair()
    sizes = set()
    for length in (0, 50, 300, 2_000, 10_000, 40_000):
        envelope = ENVELOPE.decode(alice.send(bob, "a" * length).payload)
        sizes.add(len(envelope.ciphertext) - TAG_BYTES)
        assert len(envelope.ciphertext) > length
    assert sizes == set(PADDING_BUCKETS)
