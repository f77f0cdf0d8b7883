"""Fresh keys and ids: the right kind, and never the same twice."""

import os

import pytest

from client_sdk import entropy
from client_sdk.core.errors import InvalidKeyError
from client_sdk.core.fresh_keys import NOTHING_WANTED, WantedKeys
from client_sdk.wire.encoded_keys import KemPrekey, KemRatchetKey
from client_sdk.wire.ids import is_random_id


def test_every_draw_has_its_size_and_form() -> None:
    assert is_random_id(entropy.draw_id())
    assert len(entropy.draw_bytes(5)) == 5
    assert len(entropy.draw_message_id()) == 16
    assert len(entropy.draw_stream_id()) == 8
    assert entropy.draw_x25519().public[0] == 1
    assert entropy.draw_ed25519().public[0] == 2
    assert entropy.draw_ml_kem_1024().public[0] == 4
    assert entropy.draw_ml_kem_768().public[0] == 3
    assert len(entropy.draw_hpke().public) == 1216


def test_a10_no_draw_repeats() -> None:
    drawn = [entropy.draw_id() for _ in range(10_000)]
    assert len(set(drawn)) == len(drawn)
    assert len({entropy.draw_x25519().public for _ in range(100)}) == 100


def test_an_encapsulation_is_for_the_owner_of_the_key() -> None:
    pair = entropy.draw_ml_kem_1024()
    encapsulation = entropy.encapsulate(pair.public)
    assert pair.decapsulate(encapsulation.ciphertext) == encapsulation.shared_secret
    with pytest.raises(InvalidKeyError):
        entropy.encapsulate(KemPrekey(b"\x04"))


def test_only_the_keys_that_are_wanted_are_drawn() -> None:
    assert entropy.draw_keys(NOTHING_WANTED) == (None, None, None)
    pair = entropy.draw_ml_kem_768()
    fresh = entropy.draw_keys(WantedKeys(True, True, pair.public))
    assert fresh.ratchet_key is not None
    assert fresh.kem_pair is not None
    assert fresh.encapsulation is not None
    secret, ciphertext = fresh.encapsulation
    assert pair.decapsulate(ciphertext) == secret
    assert repr(fresh) == "FreshKeys(...)"
    with pytest.raises(InvalidKeyError):
        entropy.draw_keys(WantedKeys(encapsulate_to=KemRatchetKey(b"\x03")))


def test_a10_two_forked_children_draw_differently() -> None:
    kem = entropy.draw_ml_kem_1024().public
    entropy.encapsulate(kem)
    children = []
    for _ in range(2):
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            drawn = b"".join(entropy.draw_x25519().public for _ in range(20))
            os.write(writer, drawn + entropy.encapsulate(kem).shared_secret)
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            children.append(pipe.read())
        os.waitpid(pid, 0)
    one, other = ({data[at : at + 32] for at in range(1, 660, 33)} for data in children)
    assert len(one) == len(other) == 20
    assert not one & other
    assert children[0][-32:] != children[1][-32:]
