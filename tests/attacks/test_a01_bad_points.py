"""A1: keys whose shared secret anybody can compute, in every place a key may stand."""

from collections.abc import Callable
from typing import Any

import pytest

from client_sdk.core.errors import InvalidKeyError, InvalidSignatureError
from client_sdk.core.signatures import verify_bundle
from client_sdk.wire.bundle import PrekeyBundle
from tests.attacks.scene import opened_pair, refused, with_handshake, with_header
from tests.unit.machine.machine_parties import make_pair
from tests.vectors.core_parties import NOW
from tests.vectors.core_parties import Party as CoreParty

P = 2**255 - 19
LOW_ORDER = (
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    P - 1,
    P,
    P + 1,
)
SECOND_ENCODINGS = (P + 9, 2**255 - 1, 2**255, 2**255 + 1, 2**255 + 9, 2**256 - 1)
BAD = [b"\x01" + u.to_bytes(32, "little") for u in (*LOW_ORDER, *SECOND_ENCODINGS)]

points = pytest.mark.parametrize("point", BAD, ids=lambda point: point[1:].hex())


def with_identity(bob: CoreParty, point: Any) -> PrekeyBundle:
    entry = bob.device_list().devices[0]._replace(identity_key=point)
    return bob.bundle()._replace(device_list=bob.device_list()._replace(devices=(entry,)))


def with_signed(bob: CoreParty, point: Any) -> PrekeyBundle:
    bundle = bob.bundle()
    return bundle._replace(signed_prekey=bundle.signed_prekey._replace(key=point))


def with_one_time(bob: CoreParty, point: Any) -> PrekeyBundle:
    bundle = bob.bundle()
    assert bundle.one_time_prekey is not None
    return bundle._replace(one_time_prekey=bundle.one_time_prekey._replace(key=point))


@points
@pytest.mark.parametrize("put", [with_identity, with_signed, with_one_time])
def test_a1_no_slot_of_a_bundle_takes_a_bad_point(
    point: bytes, put: Callable[[CoreParty, bytes], PrekeyBundle]
) -> None:
    with pytest.raises((InvalidKeyError, InvalidSignatureError)):
        verify_bundle(put(CoreParty("bob"), point), NOW)


def test_a1_no_slot_of_a_message_takes_a_bad_point_and_every_byte_stays() -> None:
    alice, bob = opened_pair()
    honest = alice.send(bob, "honest")
    for point in BAD:
        assert refused(bob, alice, with_header(honest, ratchet_key=point)) is InvalidKeyError
    bob.receive(alice.address, honest)
    assert bob.handed_over[-1] == "honest"


@pytest.mark.parametrize("slot", ["ephemeral_key", "identity_key"])
def test_a1_no_slot_of_a_handshake_takes_a_bad_point_and_every_byte_stays(slot: str) -> None:
    alice, bob = make_pair()
    honest = alice.send(bob, "honest")
    for point in BAD:
        refused(bob, alice, with_handshake(honest, **{slot: point}))
    for point in BAD:
        refused(bob, alice, with_header(honest, ratchet_key=point))
    bob.receive(alice.address, honest)
    assert bob.handed_over == ["honest"]
