"""Keys: what is refused at parse time, and what a good pair does."""

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from client_sdk.core.errors import InvalidKeyError, InvalidSignatureError
from client_sdk.core.keys import (
    Ed25519KeyPair,
    Encapsulation,
    MlKem1024KeyPair,
    X25519KeyPair,
    parse_ed25519,
    parse_ml_kem_1024,
    parse_x25519,
    verify,
)
from tests.vectors.core_parties import Keys

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
SMALL_ORDER_U = (
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    P - 1,
    P,
    P + 1,
)
SMALL_ORDER_ED25519 = (
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
)
KEYS = Keys(b"keys")


def le(number: int) -> bytes:
    return number.to_bytes(32, "little")


@pytest.mark.parametrize("u", SMALL_ORDER_U)
def test_a1_small_order_x25519_points_are_refused(u: int) -> None:
    with pytest.raises(InvalidKeyError):
        parse_x25519(b"\x01" + le(u))


@pytest.mark.parametrize("u", [P, P + 9, 2**255 - 1, 2**255 | 9, 2**256 - 1])
def test_a1_non_canonical_x25519_encodings_are_refused(u: int) -> None:
    with pytest.raises(InvalidKeyError):
        KEYS.x25519().exchange(b"\x01" + le(u))


def test_a1_the_largest_canonical_x25519_coordinate_is_accepted() -> None:
    assert parse_x25519(b"\x01" + le(P - 2)).public_bytes_raw() == le(P - 2)


@pytest.mark.parametrize("encoded", [b"", b"\x01" + bytes(31), b"\x01" + bytes(33), b"\x02" * 33])
def test_x25519_of_a_wrong_length_or_type_is_refused(encoded: bytes) -> None:
    with pytest.raises(InvalidKeyError):
        parse_x25519(encoded)


def test_both_sides_of_an_exchange_get_the_same_secret() -> None:
    one, other = KEYS.x25519(), KEYS.x25519()
    assert one.exchange(other.public) == other.exchange(one.public)


@pytest.mark.parametrize("encoded", SMALL_ORDER_ED25519)
def test_a21_small_order_ed25519_keys_are_refused(encoded: str) -> None:
    with pytest.raises(InvalidKeyError):
        parse_ed25519(b"\x02" + bytes.fromhex(encoded))


@pytest.mark.parametrize("y", [P, P + 1, P + 3, 2**255 - 1])
def test_a21_non_canonical_ed25519_keys_are_refused(y: int) -> None:
    for sign in (0, 1 << 255):
        with pytest.raises(InvalidKeyError):
            parse_ed25519(b"\x02" + le(y | sign))


def test_a21_the_library_accepts_a_trivial_signature_that_we_refuse() -> None:
    identity = le(1)
    forged = identity + bytes(32)
    Ed25519PublicKey.from_public_bytes(identity).verify(forged, b"any message")
    with pytest.raises(InvalidKeyError):
        verify(b"\x02" + identity, b"any message", forged)


@pytest.mark.parametrize("encoded", [b"", b"\x02" * 32, b"\x02" * 34, b"\x01" + b"\x05" * 32])
def test_ed25519_of_a_wrong_length_or_type_is_refused(encoded: bytes) -> None:
    with pytest.raises(InvalidKeyError):
        parse_ed25519(encoded)


def test_a_signature_holds_for_its_own_bytes_and_key_only() -> None:
    pair, other = KEYS.ed25519(), KEYS.ed25519()
    signature = pair.sign(b"data")
    verify(pair.public, b"data", signature)
    for public, data in ((pair.public, b"Data"), (other.public, b"data")):
        with pytest.raises(InvalidSignatureError):
            verify(public, data, signature)


def test_a21_a_signature_with_s_over_the_group_order_is_refused() -> None:
    pair = KEYS.ed25519()
    signature = pair.sign(b"data")
    s = int.from_bytes(signature[32:], "little")
    with pytest.raises(InvalidSignatureError):
        verify(pair.public, b"data", signature[:32] + le(s + L))


def test_a21_the_owner_cannot_make_a_signature_without_a_nonce() -> None:
    """R is the neutral point and S = k * a: the library takes it, we do not."""
    pair = KEYS.ed25519()
    digest = hashlib.sha512(pair.private_bytes()).digest()
    scalar = (int.from_bytes(digest[:32], "little") & ((1 << 254) - 8)) | (1 << 254)
    k = int.from_bytes(hashlib.sha512(le(1) + pair.public[1:] + b"data").digest(), "little")
    signature = le(1) + le(k * scalar % L)
    Ed25519PublicKey.from_public_bytes(pair.public[1:]).verify(signature, b"data")
    with pytest.raises(InvalidSignatureError):
        verify(pair.public, b"data", signature)


@pytest.mark.parametrize("r", SMALL_ORDER_ED25519)
def test_a21_a_signature_with_r_of_small_order_is_refused(r: str) -> None:
    pair = KEYS.ed25519()
    with pytest.raises(InvalidSignatureError):
        verify(pair.public, b"data", bytes.fromhex(r) + le(1))


@pytest.mark.parametrize("size", [0, 63, 65])
def test_a21_a_signature_of_another_length_is_refused(size: int) -> None:
    pair = KEYS.ed25519()
    with pytest.raises(InvalidSignatureError):
        verify(pair.public, b"data", (pair.sign(b"data") + b"\x00")[:size])


def test_every_bit_of_a_signature_counts() -> None:
    pair = KEYS.ed25519()
    signature = pair.sign(b"data")
    for bit in range(512):
        changed = bytearray(signature)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(InvalidSignatureError):
            verify(pair.public, b"data", bytes(changed))


def test_ml_kem_opens_what_was_encapsulated() -> None:
    pair = KEYS.ml_kem()
    secret, ciphertext = parse_ml_kem_1024(pair.public).encapsulate()
    assert pair.decapsulate(ciphertext) == secret


@pytest.mark.parametrize("size", [0, 1567, 1569])
def test_an_ml_kem_ciphertext_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(InvalidKeyError):
        KEYS.ml_kem().decapsulate(bytes(size))


def test_bad_ml_kem_keys_are_refused() -> None:
    good = KEYS.ml_kem().public
    for bad in (b"", good[:-1], good + b"\x00", b"\x03" + good[1:], b"\x04" + b"\xff" * 1568):
        with pytest.raises(InvalidKeyError):
            parse_ml_kem_1024(bad)


def test_private_bytes_make_the_same_pair_again() -> None:
    x25519, ed25519, ml_kem = KEYS.x25519(), KEYS.ed25519(), KEYS.ml_kem()
    assert X25519KeyPair.from_private_bytes(x25519.private_bytes()) == x25519
    assert Ed25519KeyPair.from_private_bytes(ed25519.private_bytes()) == ed25519
    assert MlKem1024KeyPair.from_seed(ml_kem.seed()) == ml_kem
    assert (len(x25519.public), len(ed25519.public), len(ml_kem.public)) == (33, 33, 1569)


@pytest.mark.parametrize("size", [31, 33])
def test_private_bytes_of_another_length_are_refused(size: int) -> None:
    for make in (X25519KeyPair.from_private_bytes, Ed25519KeyPair.from_private_bytes):
        with pytest.raises(InvalidKeyError):
            make(bytes(size))
    with pytest.raises(InvalidKeyError):
        MlKem1024KeyPair.from_seed(bytes(size * 2 + 1))


def test_a53_no_private_half_shows_in_a_repr() -> None:
    for pair in (KEYS.x25519(), KEYS.ed25519()):
        assert repr(pair.private_bytes())[2:-1] not in repr(pair)
        assert "private" not in repr(pair)
    assert "private" not in repr(KEYS.ml_kem())
    assert repr(Encapsulation(b"secret", b"")) == "Encapsulation(...)"


def test_a_signature_that_held_is_asked_again_for_anything_else() -> None:
    pair, other = KEYS.ed25519(), KEYS.ed25519()
    signature = pair.sign(b"data")
    verify(pair.public, b"data", signature)
    verify(pair.public, b"data", signature)
    for public, data in ((pair.public, b"Data"), (other.public, b"data")):
        for _ in range(2):
            with pytest.raises(InvalidSignatureError):
                verify(public, data, signature)
