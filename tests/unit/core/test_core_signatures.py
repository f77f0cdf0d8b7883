"""Signed lists and bundles: each blob holds in its own place only, and only while fresh."""

import pytest

from client_sdk.core.errors import (
    InvalidBundleError,
    InvalidKeyError,
    InvalidSignatureError,
    StaleBundleError,
)
from client_sdk.core.keys import verify
from client_sdk.core.signatures import (
    PrekeyFacts,
    endorse,
    listed_device,
    sign_device_list,
    sign_kem_prekey,
    sign_signed_prekey,
    verify_bundle,
    verify_device_list,
    verify_endorsements,
    verify_kem_prekey,
    verify_signed_prekey,
)
from client_sdk.wire.bundle import (
    MAX_CLOCK_SKEW_MS,
    MAX_PREKEY_AGE_MS,
    NO_PREVIOUS_LIST,
    DeviceEntry,
    OneTimePrekeyRecord,
    device_list_bytes,
    endorsement_bytes,
    kem_prekey_bytes,
    signed_prekey_bytes,
)
from client_sdk.wire.encoded_keys import (
    AccountKey,
    IdentityKey,
    OneTimePrekey,
    SignedPrekey,
    SigningKey,
)
from client_sdk.wire.errors import OperationalError, ProtocolError
from client_sdk.wire.ids import DeviceAddress, DeviceNumber, UserName
from tests.vectors.core_parties import NOW, Keys, Party

MAX_AGE = MAX_PREKEY_AGE_MS + MAX_CLOCK_SKEW_MS


@pytest.fixture
def bob() -> Party:
    return Party("bob")


def test_an_honest_bundle_is_accepted(bob: Party) -> None:
    verify_bundle(bob.bundle(), NOW)
    verify_bundle(bob.bundle(one_time=False, last_resort=True), NOW)


def test_a9_a_bundle_is_accepted_up_to_its_age_and_refused_a_millisecond_later(bob: Party) -> None:
    bundle = bob.bundle(last_resort=True)
    verify_bundle(bundle, NOW + MAX_AGE)
    with pytest.raises(StaleBundleError) as caught:
        verify_bundle(bundle, NOW + MAX_AGE + 1)
    assert isinstance(caught.value, OperationalError)


def test_a9_a_bundle_from_the_future_is_accepted_up_to_the_skew(bob: Party) -> None:
    verify_bundle(bob.bundle(), NOW - MAX_CLOCK_SKEW_MS)
    with pytest.raises(InvalidBundleError):
        verify_bundle(bob.bundle(), NOW - MAX_CLOCK_SKEW_MS - 1)


def test_a_one_time_kem_prekey_may_be_old_and_a_last_resort_one_may_not(bob: Party) -> None:
    for last_resort in (False, True):
        old = sign_kem_prekey(
            bob.signing, bob.address, PrekeyFacts(1, 1), bob.kem.public, last_resort=last_resort
        )
        bundle = bob.bundle()._replace(kem_prekey=old)
        if last_resort:
            with pytest.raises(StaleBundleError):
                verify_bundle(bundle, NOW)
        else:
            verify_bundle(bundle, NOW)


def test_a9_a_forged_signed_prekey_is_refused(bob: Party) -> None:
    mallory = Party("mallory")
    bundle = bob.bundle()
    forged = mallory.bundle()
    for changed in (
        bundle._replace(signed_prekey=forged.signed_prekey),
        bundle._replace(kem_prekey=forged.kem_prekey),
        bundle._replace(
            signed_prekey=bundle.signed_prekey._replace(key=SignedPrekey(bob.identity.public))
        ),
        bundle._replace(signed_prekey=bundle.signed_prekey._replace(signed_at=NOW + 1)),
        bundle._replace(kem_prekey=bundle.kem_prekey._replace(id=99)),
    ):
        with pytest.raises(InvalidSignatureError):
            verify_bundle(changed, NOW)


def test_a8_a_kem_prekey_cannot_be_passed_off_as_the_other_kind(bob: Party) -> None:
    bundle = bob.bundle(last_resort=False)
    relabelled = bundle.kem_prekey._replace(last_resort=True)
    with pytest.raises(InvalidSignatureError):
        verify_bundle(bundle._replace(kem_prekey=relabelled), NOW)


def test_a_bundle_of_a_device_outside_its_list_is_refused(bob: Party) -> None:
    for address in ("bob-2", "alice-1", "bob-999"):
        with pytest.raises(InvalidBundleError):
            verify_bundle(bob.bundle()._replace(address=DeviceAddress(address)), NOW)
    assert listed_device(bob.device_list(), DeviceAddress("bob-2")) is None


def test_a1_bad_points_in_a_bundle_are_refused(bob: Party) -> None:
    zero = b"\x01" + bytes(32)
    bad_one_time = OneTimePrekeyRecord(1, OneTimePrekey(zero))
    with pytest.raises(InvalidKeyError):
        verify_bundle(bob.bundle()._replace(one_time_prekey=bad_one_time), NOW)
    bad_signed = sign_signed_prekey(
        bob.signing, bob.address, PrekeyFacts(1, NOW), SignedPrekey(zero)
    )
    with pytest.raises(InvalidKeyError):
        verify_signed_prekey(bob.address, SigningKey(bob.signing.public), bad_signed)
    bad_kem = sign_kem_prekey(
        bob.signing,
        bob.address,
        PrekeyFacts(1, NOW),
        type(bob.kem.public)(b"\x04" + b"\xff" * 1568),
        last_resort=True,
    )
    with pytest.raises(InvalidKeyError):
        verify_kem_prekey(bob.address, SigningKey(bob.signing.public), bad_kem)


def test_a26_a_list_changed_by_anybody_is_refused(bob: Party) -> None:
    honest = bob.device_list()
    verify_device_list(honest)
    entry = honest.devices[0]
    for changed in (
        honest._replace(version=2),
        honest._replace(user=UserName("bobby")),
        honest._replace(previous_hash=b"\x01" * 32),
        honest._replace(devices=()),
        honest._replace(devices=(entry._replace(manager=False),)),
        honest._replace(devices=(entry._replace(number=DeviceNumber(2)),)),
        honest._replace(account_key=AccountKey(bob.signing.public)),
    ):
        with pytest.raises(InvalidSignatureError):
            verify_device_list(changed)


def test_a_device_that_has_not_endorsed_the_account_is_refused(bob: Party) -> None:
    claimed = Party("mallory").device_list().devices[0]
    stolen = sign_device_list(bob.account, UserName("bob"), 1, NO_PREVIOUS_LIST, (claimed,))
    verify_device_list(stolen)
    with pytest.raises(InvalidSignatureError):
        verify_endorsements(stolen)


@pytest.mark.parametrize("shared", ["number", "signing_key", "identity_key"])
def test_a_list_with_one_device_twice_is_refused(bob: Party, shared: str) -> None:
    keys = Keys(b"second device")
    first = bob.device_list().devices[0]
    second = DeviceEntry(
        DeviceNumber(2),
        SigningKey(keys.ed25519().public),
        IdentityKey(keys.x25519().public),
        NOW,
        False,
        first.endorsement,
    )
    user = UserName("bob")
    verify_device_list(sign_device_list(bob.account, user, 1, NO_PREVIOUS_LIST, (first, second)))
    twice = second._replace(**{shared: getattr(first, shared)})
    with pytest.raises(InvalidBundleError):
        verify_device_list(sign_device_list(bob.account, user, 1, NO_PREVIOUS_LIST, (first, twice)))


def test_bad_device_keys_in_a_signed_list_are_refused(bob: Party) -> None:
    entry = bob.device_list().devices[0]
    for bad in (
        entry._replace(identity_key=IdentityKey(b"\x01" + bytes(32))),
        entry._replace(signing_key=SigningKey(b"\x02" + bytes(32))),
    ):
        with pytest.raises(InvalidKeyError):
            verify_device_list(
                sign_device_list(bob.account, UserName("bob"), 1, NO_PREVIOUS_LIST, (bad,))
            )


def test_a3_no_signed_blob_holds_in_another_slot_or_for_another_device(bob: Party) -> None:
    key_pair = bob.signing
    account = AccountKey(key_pair.public)
    device_list = sign_device_list(key_pair, UserName("bob"), 1, NO_PREVIOUS_LIST, ())
    signed = sign_signed_prekey(
        key_pair, bob.address, PrekeyFacts(1, NOW), SignedPrekey(bob.signed_prekey.public)
    )
    kems = [
        sign_kem_prekey(
            key_pair, bob.address, PrekeyFacts(1, NOW), bob.kem.public, last_resort=last_resort
        )
        for last_resort in (False, True)
    ]
    other = DeviceAddress("bob-2")
    blobs = [
        (device_list_bytes(device_list), device_list.signature),
        (endorsement_bytes(bob.address, account), endorse(key_pair, bob.address, account)),
        (signed_prekey_bytes(bob.address, signed), signed.signature),
        *((kem_prekey_bytes(bob.address, kem), kem.signature) for kem in kems),
        (endorsement_bytes(other, account), endorse(key_pair, other, account)),
        (
            signed_prekey_bytes(other, signed),
            sign_signed_prekey(key_pair, other, PrekeyFacts(1, NOW), signed.key).signature,
        ),
    ]
    for row, (data, _) in enumerate(blobs):
        for column, (_, signature) in enumerate(blobs):
            if row == column:
                verify(key_pair.public, data, signature)
            else:
                with pytest.raises(InvalidSignatureError):
                    verify(key_pair.public, data, signature)


def test_errors_of_a_bundle_are_the_peers_fault() -> None:
    for error in (InvalidBundleError, InvalidKeyError, InvalidSignatureError):
        assert issubclass(error, ProtocolError)
