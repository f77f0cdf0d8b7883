"""Key derivation, the AEAD and HPKE."""

import hashlib
import re
from collections import Counter
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256, SHA512
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

import client_sdk
from client_sdk import entropy
from client_sdk.core import kdf
from client_sdk.core.aead import AEAD_TAG_BYTES, open_sealed, seal
from client_sdk.core.errors import AuthenticationError, InvalidKeyError
from client_sdk.core.hpke import HPKE_PUBLIC_BYTES, HpkeKeyPair, parse_hpke_public
from client_sdk.core.hpke import seal as seal_hpke
from client_sdk.core.kdf import ChainKey, ChainStep, MessageKey, PqRootKey, RootKey
from client_sdk.core.triple_ratchet import (
    ChainKeys,
    message_keys,
    next_message_key,
    pass_over,
)

keys32 = st.binary(min_size=32, max_size=32)
SOURCES = Path(client_sdk.__file__).parent


def hkdf(salt: bytes, material: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, info).derive(material)


def one_step(secret: bytes, info: bytes, length: int = 64) -> bytes:
    return ConcatKDFHash(SHA512(), length, info).derive(secret)


def test_a19_every_label_of_the_project_stands_in_one_place() -> None:
    label = re.compile(r"\"(RatchetMQ/1 [^\"]*)\"")
    root = SOURCES.parent
    files = [f for part in ("client_sdk", "keydir", "broker") for f in (root / part).rglob("*.py")]
    found = Counter(hit for file in files for hit in label.findall(file.read_text()))
    assert len(found) > 10
    assert [text for text, count in found.items() if count > 1] == []


def test_every_derivation_label_names_the_suite_and_none_begins_another() -> None:
    labels = [value for name, value in vars(kdf).items() if name.endswith("_LABEL")]
    assert len(labels) == 11
    for one in labels:
        assert one.startswith(b"RatchetMQ/1 ")
        assert one.endswith(b" suite 1")
        assert [other for other in labels if other.startswith(one)] == [one]


def test_hkdf_gives_the_first_example_of_its_specification() -> None:
    salt, info = bytes(range(0x0D)), bytes(range(0xF0, 0xFA))
    expected = (
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )
    assert kdf.hkdf(salt, b"\x0b" * 22, info, 42).hex() == expected


@given(keys32, st.binary(max_size=200), st.binary(max_size=80), st.integers(1, 200))
def test_hkdf_is_that_of_another_library(
    salt: bytes, material: bytes, info: bytes, length: int
) -> None:
    assert kdf.hkdf(salt, material, info, length) == hkdf(salt, material, info, length)


@given(keys32)
def test_a_chain_step_is_the_one_step_derivation_of_another_library(key: bytes) -> None:
    assert kdf.chain_step(ChainKey(key)) == one_step(key, kdf.CHAIN_LABEL)


@given(keys32, keys32)
def test_root_steps_derive_from_the_new_secret_and_then_the_root(root: bytes, new: bytes) -> None:
    expected = one_step(new + root, kdf.ROOT_LABEL)
    assert b"".join(kdf.root_step(RootKey(root), new)) == expected
    expected = one_step(new + root, kdf.PQ_EPOCH_LABEL)
    assert b"".join(kdf.pq_epoch_step(PqRootKey(root), kdf.EpochKey(new))) == expected
    assert b"".join(kdf.pq_root_step(PqRootKey(root))) == one_step(root, kdf.PQ_ROOT_LABEL)


@given(keys32, keys32)
def test_a_message_key_derives_from_both_outputs_and_no_next_key(pq: bytes, ec: bytes) -> None:
    expected = one_step(pq + ec, kdf.MESSAGE_LABEL, 32)
    for unused in (bytes(32), b"n" * 32):
        assert kdf.message_key(ChainStep(unused + pq), ChainStep(unused + ec)) == expected


def test_changing_either_half_changes_the_message_key() -> None:
    pq, ec = ChainStep(b"p" * 64), ChainStep(b"e" * 64)
    key = kdf.message_key(pq, ec)
    assert key != kdf.message_key(ChainStep(b"q" * 64), ec)
    assert key != kdf.message_key(pq, ChainStep(b"f" * 64))


@given(keys32, keys32)
def test_positions_passed_over_have_the_keys_of_steps_taken(ec: bytes, pq: bytes) -> None:
    chains = ChainKeys(ChainKey(ec), ChainKey(pq))
    second, one = next_message_key(chains)
    third, two = next_message_key(second)
    passed, after = pass_over(chains, 2)
    assert after == third
    assert message_keys(passed) == [one, two]


def test_the_post_quantum_root_moves_forward() -> None:
    root, chain = kdf.pq_root_step(PqRootKey(b"r" * 32))
    again, next_chain = kdf.pq_root_step(root)
    assert len({root, chain, again, next_chain}) == 4


def test_an_epochs_key_is_bound_to_its_number_and_to_all_that_was_exchanged() -> None:
    secret, transcript = b"s" * 32, b"t" * 2273
    key = kdf.epoch_key(secret, 1, transcript)
    info = kdf.EPOCH_KEY_LABEL + b"\x00\x00\x00\x01" + hashlib.sha256(transcript).digest()
    assert key == hkdf(bytes(32), secret, info, 32)
    assert key != kdf.epoch_key(secret, 2, transcript)
    assert key != kdf.epoch_key(secret, 1, transcript[:-1] + b"u")
    assert key != kdf.epoch_key(b"S" * 32, 1, transcript)


def test_the_aead_opens_only_the_same_bytes_in_the_same_place() -> None:
    key = MessageKey(b"k" * 32)
    sealed = seal(key, b"plaintext", b"place")
    assert len(sealed) == len(b"plaintext") + AEAD_TAG_BYTES
    assert open_sealed(key, sealed, b"place") == b"plaintext"
    for ciphertext, place in (
        (sealed[:-1], b"place"),
        (sealed + b"\x00", b"place"),
        (b"", b"place"),
        (sealed, b"Place"),
    ):
        with pytest.raises(AuthenticationError):
            open_sealed(key, ciphertext, place)


def test_a21_every_bit_of_the_tag_counts() -> None:
    key = MessageKey(b"k" * 32)
    sealed = seal(key, b"", b"")
    for bit in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(AuthenticationError):
            open_sealed(key, bytes(changed), b"")


def test_hpke_opens_with_the_private_key_and_the_same_context_only() -> None:
    pair, other = entropy.draw_hpke(), entropy.draw_hpke()
    sealed = seal_hpke(pair.public, b"request", b"context")
    assert pair.open(sealed, b"context") == b"request"
    again = HpkeKeyPair.from_private_bytes(pair.private_bytes())
    assert again == pair
    assert again.open(sealed, b"context") == b"request"
    for owner, data, info in (
        (other, sealed, b"context"),
        (pair, sealed, b"Context"),
        (pair, sealed[:-1], b"context"),
        (pair, b"", b"context"),
    ):
        with pytest.raises(AuthenticationError):
            owner.open(data, info)


def test_bad_hpke_keys_are_refused() -> None:
    good = entropy.draw_hpke().public
    assert len(good) == HPKE_PUBLIC_BYTES
    for bad in (
        b"",
        good[:-1],
        good + b"\x00",
        good[:-32] + bytes(32),
        b"\xff" * 1184 + good[-32:],
    ):
        with pytest.raises(InvalidKeyError):
            parse_hpke_public(bad)
    for size in (95, 97):
        with pytest.raises(InvalidKeyError):
            HpkeKeyPair.from_private_bytes(bytes(size))


def test_an_hpke_pair_shows_nothing_private() -> None:
    assert repr(entropy.draw_hpke()).startswith("HpkeKeyPair(public=")
