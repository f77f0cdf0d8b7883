"""A8: nobody is talked out of the post-quantum half, or into another version."""

from typing import Any

import msgpack
import pytest

from client_sdk import entropy
from client_sdk.core.errors import AuthenticationError
from client_sdk.core.signatures import verify_bundle
from client_sdk.wire.bundle import PREKEY_BUNDLE
from client_sdk.wire.codec import encode
from client_sdk.wire.envelope import ENVELOPE, PREKEY_HEADER
from client_sdk.wire.errors import MalformedError, ProtocolError
from tests.attacks.scene import opened_pair, refused, with_header, with_payload
from tests.unit.machine.machine_parties import make_pair
from tests.vectors.core_parties import NOW
from tests.vectors.core_parties import Party as CoreParty

BOB = CoreParty("bob")
X25519_KEY, KEM_768_KEY = BOB.identity.public, BOB.keys.ml_kem_768().public


def stripped(kem_prekey: Any) -> bytes:
    """Return bob's bundle with something else where the KEM prekey stands."""
    packed: bytes = msgpack.packb((*BOB.bundle()[:-1], kem_prekey))
    return packed


@pytest.mark.parametrize("missing", [None, (), b"", BOB.bundle().kem_prekey[:-1]])
def test_a8_a_bundle_without_its_kem_prekey_is_none(missing: Any) -> None:
    with pytest.raises(MalformedError):
        PREKEY_BUNDLE.decode(stripped(missing))
    with pytest.raises(MalformedError):
        PREKEY_BUNDLE.decode(msgpack.packb(BOB.bundle()[:-1]))


@pytest.mark.parametrize("key", [X25519_KEY, KEM_768_KEY, b""])
def test_a8_a_weaker_key_in_the_place_of_the_kem_prekey_is_refused(key: bytes) -> None:
    record = BOB.bundle().kem_prekey
    with pytest.raises(MalformedError):
        PREKEY_BUNDLE.decode(stripped(record._replace(key=key)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields", [{"last_resort": True}, {"id": 99}, {"key": CoreParty("carol").kem.public}]
)
def test_a8_no_field_of_the_kem_prekey_may_change(fields: dict[str, Any]) -> None:
    bundle = BOB.bundle()
    with pytest.raises(ProtocolError):
        verify_bundle(bundle._replace(kem_prekey=bundle.kem_prekey._replace(**fields)), NOW)


@pytest.mark.parametrize("field", ["version", "suite"])
@pytest.mark.parametrize("number", [0, 2, 255])
def test_a8_another_version_or_suite_is_no_envelope(field: str, number: int) -> None:
    alice, bob = make_pair()
    honest = alice.send(bob, "honest")
    changed = ENVELOPE.decode(honest.payload)._replace(**{field: number})
    assert refused(bob, alice, with_payload(honest, encode(changed))) is MalformedError
    bob.receive(alice.address, honest)
    assert bob.handed_over == ["honest"]


def test_a8_a_handshake_without_its_kem_ciphertext_is_none() -> None:
    alice, bob = make_pair()
    honest = alice.send(bob, "honest")
    decoded = ENVELOPE.decode(honest.payload)
    handshake, ratchet = PREKEY_HEADER.decode(decoded.header)
    for ciphertext in (None, b"", handshake.kem_ciphertext[:1088]):
        fields = handshake._replace(kem_ciphertext=ciphertext)  # type: ignore[arg-type]
        changed = decoded._replace(header=msgpack.packb((fields, ratchet)))
        assert refused(bob, alice, with_payload(honest, encode(changed))) is MalformedError


def test_a8_taking_the_post_quantum_part_out_of_a_message_opens_nothing() -> None:
    bob, alice = opened_pair()  # the one who answered first sends chunks of its key from then on
    honest = alice.send(bob, "honest")
    for place, error in (
        (b"", MalformedError),
        (bytes(8), AuthenticationError),
        (entropy.draw_bytes(8), ProtocolError),
    ):
        assert issubclass(refused(bob, alice, with_header(honest, pq_message=place)), error)
    bob.receive(alice.address, honest)
    assert bob.handed_over[-1] == "honest"
