"""The handshake: both sides agree, and nobody else can be in it."""

from dataclasses import replace
from typing import Any

import pytest

from client_sdk import entropy
from client_sdk.core.errors import AuthenticationError, InvalidBundleError, InvalidKeyError
from client_sdk.core.keys import Encapsulation
from client_sdk.core.pqxdh import HandshakeSecrets, RemoteDevice, accept, initiate
from client_sdk.core.session import (
    accept_session,
    decrypt,
    encrypt,
    handshake_of,
    initiate_session,
    keys_wanted,
)
from client_sdk.wire.bundle import OneTimePrekeyRecord
from client_sdk.wire.encoded_keys import EphemeralKey, IdentityKey, OneTimePrekey, SignedPrekey
from client_sdk.wire.envelope import HandshakeHeader
from client_sdk.wire.errors import MisuseError, ProtocolError
from client_sdk.wire.ids import DeviceAddress
from tests.vectors.core_parties import (
    ONE_TIME_ID,
    Keys,
    Party,
    accept_first,
    initiator_keys,
    padded,
    receive,
    send,
    start,
)


@pytest.fixture
def alice() -> Party:
    return Party("alice")


@pytest.fixture
def bob() -> Party:
    return Party("bob")


def shake(
    alice: Party, bob: Party, *, one_time: bool = True
) -> tuple[HandshakeSecrets, HandshakeHeader]:
    fresh = initiator_keys(alice.keys, bob)
    bundle = bob.bundle(one_time=one_time)
    return initiate(alice.local(), bob.remote(), bundle, fresh.ephemeral, fresh.encapsulation)


@pytest.mark.parametrize("one_time", [True, False])
def test_both_sides_compute_the_same_secrets(alice: Party, bob: Party, one_time: bool) -> None:
    ours, header = shake(alice, bob, one_time=one_time)
    theirs = accept(bob.local(), alice.remote(), bob.prekeys(one_time=one_time), header)
    assert ours == theirs
    assert (header.one_time_prekey_id is None) == (not one_time)


def test_a53_secrets_show_only_the_session_id(alice: Party, bob: Party) -> None:
    secrets, _ = shake(alice, bob)
    assert "root" not in repr(secrets)
    assert "seed" not in repr(secrets)


def test_every_input_of_the_transcript_changes_the_session_id(alice: Party, bob: Party) -> None:
    secrets, header = shake(alice, bob)
    mallory = Party("mallory")
    local, remote, prekeys = bob.local(), alice.remote(), bob.prekeys()

    def session_id(**changes: Any) -> bytes:
        return accept(local, remote, prekeys, header._replace(**changes)).session_id

    changed = {
        session_id(ephemeral_key=EphemeralKey(mallory.identity.public)),
        session_id(signed_prekey_id=98),
        session_id(one_time_prekey_id=98),
        session_id(kem_prekey_id=98),
        session_id(kem_ciphertext=bytes(1568)),
        session_id(sender_list_version=2),
        session_id(recipient_list_version=2),
        accept(replace(local, address=DeviceAddress("bob-2")), remote, prekeys, header).session_id,
        accept(
            replace(local, account_key=mallory.local().account_key), remote, prekeys, header
        ).session_id,
        accept(
            replace(local, signing_key=mallory.local().signing_key), remote, prekeys, header
        ).session_id,
        accept(replace(local, identity=mallory.identity), remote, prekeys, header).session_id,
        accept(
            local, replace(remote, address=DeviceAddress("alice-2")), prekeys, header
        ).session_id,
        *(
            accept(local, remote, other, header).session_id
            for other in (
                replace(prekeys, signed_prekey=mallory.identity),
                replace(prekeys, one_time_prekey=mallory.identity),
                replace(prekeys, kem_prekey=mallory.kem),
            )
        ),
    }
    assert len(changed) == 15
    assert secrets.session_id not in changed


@pytest.mark.parametrize("field", ["account_key", "signing_key", "identity_key"])
def test_a6_a_header_with_other_keys_than_the_senders_list_is_refused(
    alice: Party, bob: Party, field: str
) -> None:
    _, header = shake(alice, bob)
    claimed = replace(alice.remote(), **{field: getattr(Party("mallory").remote(), field)})
    with pytest.raises(AuthenticationError):
        accept(bob.local(), claimed, bob.prekeys(), header)


def test_a6_a_key_published_under_another_name_leads_to_no_session(
    alice: Party, bob: Party
) -> None:
    """Charlie lists bob's identity key as his own; what alice sends him does not open at bob."""
    charlie = Party("charlie")
    charlie.identity = bob.identity
    charlie.signed_prekey, charlie.one_time, charlie.kem = bob.signed_prekey, bob.one_time, bob.kem
    _, sent = send(start(alice, charlie), alice.keys)
    with pytest.raises(AuthenticationError):
        accept_first(bob, alice, sent)


def test_a2_a_secret_encapsulated_again_for_another_key_opens_nowhere(
    alice: Party, bob: Party
) -> None:
    """The same shared secret under bob's and charlie's KEM keys still gives two session ids."""
    fresh = initiator_keys(alice.keys, bob)
    ours, header = initiate(
        alice.local(), bob.remote(), bob.bundle(), fresh.ephemeral, fresh.encapsulation
    )
    other_kem = replace(bob.prekeys(), kem_prekey=Keys(b"other").ml_kem())
    theirs = accept(bob.local(), alice.remote(), other_kem, header)
    assert theirs.session_id != ours.session_id
    session = initiate_session(alice.local(), bob.remote(), bob.bundle(), fresh)
    _, sent = send(session, alice.keys)
    prekey_header = handshake_of(sent.envelope)
    assert prekey_header is not None
    with pytest.raises(AuthenticationError):
        accept_session(bob.local(), alice.remote(), other_kem, prekey_header)


def test_a7_with_bobs_identity_key_stolen_nobody_can_play_alice_to_bob(
    alice: Party, bob: Party
) -> None:
    """DH1 needs alice's identity key or bob's signed prekey; the latter lives a week at most."""
    thief = replace(alice.local(), identity=Keys(b"thief").x25519())
    fresh = initiator_keys(alice.keys, bob)
    guessed, header = initiate(
        thief, bob.remote(), bob.bundle(), fresh.ephemeral, fresh.encapsulation
    )
    claimed = header._replace(identity_key=alice.remote().identity_key)
    theirs = accept(bob.local(), alice.remote(), bob.prekeys(), claimed)
    assert theirs.root_key != guessed.root_key
    assert theirs.session_id != guessed.session_id


def test_a11_every_changed_bit_of_the_kem_ciphertext_ends_in_a_failed_tag(
    alice: Party, bob: Party
) -> None:
    _, sent = send(start(alice, bob), alice.keys)
    header = handshake_of(sent.envelope)
    assert header is not None
    for bit in range(0, 1568 * 8, 397):
        ciphertext = bytearray(header.handshake.kem_ciphertext)
        ciphertext[bit // 8] ^= 1 << bit % 8
        changed = header._replace(
            handshake=header.handshake._replace(kem_ciphertext=bytes(ciphertext))
        )
        with pytest.raises(AuthenticationError):
            accept_session(bob.local(), alice.remote(), bob.prekeys(), changed)


def test_a11_a_wrong_kem_secret_alone_is_found_by_the_aead(alice: Party, bob: Party) -> None:
    fresh = initiator_keys(alice.keys, bob)
    wrong = replace(
        fresh, encapsulation=Encapsulation(b"\x00" * 32, fresh.encapsulation.ciphertext)
    )
    _, sent = send(initiate_session(alice.local(), bob.remote(), bob.bundle(), wrong), alice.keys)
    with pytest.raises(AuthenticationError):
        accept_first(bob, alice, sent)


@pytest.mark.parametrize("slot", ["signed", "one_time", "identity"])
def test_a1_bad_points_in_any_slot_of_a_handshake_are_refused(
    alice: Party, bob: Party, slot: str
) -> None:
    zero = b"\x01" + bytes(32)
    fresh = initiator_keys(alice.keys, bob)
    bundle, remote = bob.bundle(), bob.remote()
    if slot == "signed":
        record = bundle.signed_prekey._replace(key=SignedPrekey(zero))
        bundle = bundle._replace(signed_prekey=record)
    if slot == "one_time":
        one_time = OneTimePrekeyRecord(ONE_TIME_ID, OneTimePrekey(zero))
        bundle = bundle._replace(one_time_prekey=one_time)
    if slot == "identity":
        remote = replace(remote, identity_key=IdentityKey(zero))
        entry = bundle.device_list.devices[0]._replace(identity_key=IdentityKey(zero))
        bundle = bundle._replace(device_list=bundle.device_list._replace(devices=(entry,)))
    with pytest.raises(InvalidKeyError):
        initiate(alice.local(), remote, bundle, fresh.ephemeral, fresh.encapsulation)


def test_a1_a_bad_ephemeral_key_is_refused(alice: Party, bob: Party) -> None:
    _, header = shake(alice, bob)
    bad = header._replace(ephemeral_key=EphemeralKey(b"\x01" + bytes(32)))
    with pytest.raises(InvalidKeyError):
        accept(bob.local(), alice.remote(), bob.prekeys(), bad)


def test_a_bundle_of_another_device_starts_no_session(alice: Party, bob: Party) -> None:
    mallory = Party("mallory")
    fresh = initiator_keys(alice.keys, bob)
    honest = bob.remote()
    wrong: list[RemoteDevice] = [
        mallory.remote(),
        replace(honest, address=DeviceAddress("bob-2")),
        replace(honest, account_key=mallory.remote().account_key),
        replace(honest, signing_key=mallory.remote().signing_key),
        replace(honest, identity_key=mallory.remote().identity_key),
    ]
    for remote in wrong:
        with pytest.raises(InvalidBundleError):
            initiate(alice.local(), remote, bob.bundle(), fresh.ephemeral, fresh.encapsulation)
    moved = bob.bundle()._replace(address=DeviceAddress("bob-2"))
    with pytest.raises(InvalidBundleError):
        initiate(alice.local(), honest, moved, fresh.ephemeral, fresh.encapsulation)


@pytest.mark.parametrize("one_time", [True, False])
def test_prekeys_that_do_not_fit_the_header_are_misuse(
    alice: Party, bob: Party, one_time: bool
) -> None:
    _, header = shake(alice, bob, one_time=one_time)
    with pytest.raises(MisuseError):
        accept(bob.local(), alice.remote(), bob.prekeys(one_time=not one_time), header)


@pytest.mark.parametrize("one_time", [True, False])
def test_a4_a_replayed_first_message_leads_to_the_same_session(
    alice: Party, bob: Party, one_time: bool
) -> None:
    _, sent = send(start(alice, bob, one_time=one_time), alice.keys)
    first, text = accept_first(bob, alice, sent, one_time=one_time)
    again, _ = accept_first(bob, alice, sent, one_time=one_time)
    assert text == "text"
    assert first.session_id == again.session_id
    with pytest.raises(ProtocolError):
        receive(first, sent)


def test_a5_replies_to_replayed_first_messages_never_share_a_key(alice: Party, bob: Party) -> None:
    _, sent = send(start(alice, bob, one_time=False), alice.keys)
    replies = set()
    for _ in range(50):
        session, _ = accept_first(bob, alice, sent, one_time=False)
        fresh = entropy.draw_keys(keys_wanted(session))
        _, reply = encrypt(session, sent.envelope_id, padded("reply"), fresh)
        replies.add(reply[-272:])
    assert len(replies) == 50


def test_a47_a_first_message_does_not_open_under_another_envelope_id(
    alice: Party, bob: Party
) -> None:
    _, sent = send(start(alice, bob), alice.keys)
    header = handshake_of(sent.envelope)
    assert header is not None
    session = accept_session(bob.local(), alice.remote(), bob.prekeys(), header)
    with pytest.raises(AuthenticationError):
        decrypt(session, alice.keys.envelope_id(), sent.envelope)
