"""Which device list is believed, what is uploaded, and how two steps become one."""

from dataclasses import replace

import pytest

from client_sdk import entropy
from client_sdk.core.errors import InvalidSignatureError
from client_sdk.core.keys import Ed25519KeyPair
from client_sdk.core.session import InitiatorKeys
from client_sdk.core.signatures import (
    endorse,
    sign_device_list,
    verify_kem_prekey,
    verify_signed_prekey,
)
from client_sdk.machine.changes import Changes, UserRevision, combine
from client_sdk.machine.device import DEVICE_RECORD, Stage, encode_device, load_device
from client_sdk.machine.devices import adopt_device_list, is_withdrawn, plan_withdrawal
from client_sdk.machine.errors import DeviceListError, IdentityChangedError
from client_sdk.machine.prekeys import kem_row, upload, x25519_row
from client_sdk.machine.rows import Peer, PrekeyKind
from client_sdk.machine.sending import start_session, without_session
from client_sdk.machine.state import PeerState, parse_device_list
from client_sdk.machine.streams import MAX_STREAMS
from client_sdk.wire.bundle import DeviceList, addresses, device_list_hash
from client_sdk.wire.codec import encode
from client_sdk.wire.directory import PUBLISH_PREKEYS, DeviceListReply, Relation
from client_sdk.wire.encoded_keys import AccountKey, Signature, SigningKey
from client_sdk.wire.ids import DeviceNumber, UserName
from client_sdk.wire.limits import MAX_DIRECTORY_BYTES, MAX_PREKEY_BATCH
from tests.unit.machine.machine_parties import (
    NOW,
    Party,
    empty_state,
    make_pair,
    make_party,
    make_record,
)


def account_of(party: Party) -> Ed25519KeyPair:
    return Ed25519KeyPair.from_private_bytes(party.own.record.account_private)


def next_list(party: Party, version: int, previous: bytes) -> DeviceList:
    current = party.own.record.device_list
    return sign_device_list(account_of(party), current.user, version, previous, current.devices)


def reply(device_list: DeviceList) -> DeviceListReply:
    return DeviceListReply(device_list, Relation.CONTACT, "", "")


def adopted(party: Party) -> PeerState:
    return adopt_device_list(empty_state(party.user), party.list_reply())[0]


def test_the_first_list_is_trusted_and_pins_the_account_key() -> None:
    bob = make_party("bob")
    state, changes = adopt_device_list(empty_state(bob.user), bob.list_reply())
    assert state.peer.account_key == bob.own.record.device_list.account_key
    assert state.devices == (bob.address,)
    assert state.trusted
    assert changes.peers == (state.peer,)
    assert changes.based_on == (UserRevision(bob.user, 0),)
    assert parse_device_list(state.peer) == state.device_list
    assert parse_device_list(Peer(bob.user)) is None


def test_the_same_list_again_renews_what_the_policy_says() -> None:
    bob = make_party("bob")
    state, _ = adopt_device_list(adopted(bob), bob.list_reply(Relation.STRANGER))
    assert state.peer.relation is Relation.STRANGER
    assert not state.trusted


def test_the_next_list_of_the_chain_is_adopted() -> None:
    bob = make_party("bob")
    known = adopted(bob)
    following = next_list(bob, 2, device_list_hash(bob.own.record.device_list))
    state, _ = adopt_device_list(known, reply(following))
    assert state.device_list == following


@pytest.mark.parametrize(("version", "wrong_hash"), [(1, True), (1, False), (2, True), (3, False)])
def test_a_list_that_does_not_follow_the_known_one_is_refused(
    version: int, wrong_hash: bool
) -> None:
    bob = make_party("bob")
    known = adopted(bob)
    previous = bytes(32) if wrong_hash else device_list_hash(bob.own.record.device_list)
    if version == 1 and wrong_hash:
        previous = b"\x01" * 32
    with pytest.raises(DeviceListError):
        adopt_device_list(known, reply(next_list(bob, version, previous)))


def test_an_older_list_is_refused() -> None:
    bob = make_party("bob")
    following = next_list(bob, 2, device_list_hash(bob.own.record.device_list))
    state, _ = adopt_device_list(adopted(bob), reply(following))
    with pytest.raises(DeviceListError):
        adopt_device_list(state, bob.list_reply())


def test_another_account_key_is_refused_even_with_the_right_chain() -> None:
    bob = make_party("bob")
    known = adopted(bob)
    account = entropy.draw_ed25519()
    entry = bob.own.record.device_list.devices[0]
    entry = entry._replace(
        endorsement=endorse(bob.own.signing, bob.address, AccountKey(account.public))
    )
    previous = device_list_hash(bob.own.record.device_list)
    other = sign_device_list(account, bob.user, 2, previous, (entry,))
    with pytest.raises(IdentityChangedError):
        adopt_device_list(known, reply(other))


def test_another_users_list_is_refused() -> None:
    bob, carol = make_party("bob"), make_party("carol")
    with pytest.raises(DeviceListError):
        adopt_device_list(empty_state(carol.user), bob.list_reply())


@pytest.mark.parametrize("field", ["signature", "devices"])
def test_a_list_or_a_device_that_nobody_signed_is_refused(field: str) -> None:
    bob = make_party("bob")
    offered = bob.own.record.device_list
    if field == "signature":
        forged = offered._replace(signature=Signature(bytes(64)))
    else:
        foreign = make_record("bob").device_list.devices[0]
        unsigned = offered.devices[0]._replace(signing_key=foreign.signing_key)
        forged = sign_device_list(account_of(bob), bob.user, 1, bytes(32), (unsigned,))
    with pytest.raises(InvalidSignatureError):
        adopt_device_list(empty_state(bob.user), reply(forged))


def test_a_bundle_with_another_list_or_of_an_unlisted_device_starts_nothing() -> None:
    alice, bob = make_pair()
    bundle = bob.bundle()
    keys = InitiatorKeys(
        entropy.draw_x25519(), entropy.encapsulate(bundle.kem_prekey.key), entropy.draw_x25519()
    )
    state = alice.states[bob.user]
    other = bundle._replace(device_list=make_record("bob").device_list)
    with pytest.raises(DeviceListError):
        start_session(alice.own, state, other, keys, NOW)
    empty = sign_device_list(account_of(bob), bob.user, 1, bytes(32), ())
    unlisted = PeerState(0, state.peer, empty, {}, {})
    with pytest.raises(DeviceListError):
        start_session(alice.own, unlisted, bundle._replace(device_list=empty), keys, NOW)


def test_a_device_record_reads_back_and_loads_with_its_keys() -> None:
    record = make_record("alice")
    assert record.stage == Stage.KEYS_MADE
    assert DEVICE_RECORD.decode(encode_device(record)) == record
    own = load_device(record)
    assert (own.address, own.user) == ("alice-1", "alice")
    assert own.local.identity.public == bytes(record.device_list.devices[0].identity_key)
    assert own.local.signing_key == record.device_list.devices[0].signing_key


def test_a_full_batch_verifies_and_fits_into_one_packet() -> None:
    bob = make_party("bob")
    rows = [
        x25519_row(PrekeyKind.SIGNED, 1, entropy.draw_x25519(), NOW),
        kem_row(PrekeyKind.KEM_LAST_RESORT, 2, entropy.draw_ml_kem_1024(), NOW),
    ]
    rows += [
        x25519_row(PrekeyKind.ONE_TIME, 2**62 + n, entropy.draw_x25519(), NOW)
        for n in range(MAX_PREKEY_BATCH)
    ]
    rows += [
        kem_row(PrekeyKind.KEM_ONE_TIME, 2**61 + n, entropy.draw_ml_kem_1024(), NOW)
        for n in range(MAX_PREKEY_BATCH)
    ]
    batch = upload(bob.own.signing, bob.address, rows)
    encoded = encode(batch)
    assert len(encoded) < MAX_DIRECTORY_BYTES - 1024
    assert PUBLISH_PREKEYS.decode(encoded) == batch
    assert upload(bob.own.signing, bob.address, rows) == batch
    key = SigningKey(bob.own.signing.public)
    assert batch.signed_prekey is not None
    verify_signed_prekey(bob.address, key, batch.signed_prekey)
    assert batch.last_resort is not None
    for record in (batch.last_resort, *batch.kem_prekeys):
        verify_kem_prekey(bob.address, key, record)
    assert batch.last_resort.last_resort
    assert not any(record.last_resort for record in batch.kem_prekeys)
    assert [one.id for one in batch.one_time_prekeys] == [2**62 + n for n in range(40)]


def test_an_empty_batch_uploads_nothing() -> None:
    bob = make_party("bob")
    assert upload(bob.own.signing, bob.address, ()) == (None, None, (), ())


def test_combined_changes_keep_order_and_the_first_revisions() -> None:
    alice, bob = UserName("alice"), UserName("bob")
    first = Changes(
        based_on=(UserRevision(alice, 3),), peers=(Peer(alice),), handshakes=(b"1",), device=b"d"
    )
    second = Changes(
        based_on=(UserRevision(alice, 4), UserRevision(bob, 1)),
        peers=(Peer(alice, role="x"),),
        handshakes=(b"2",),
    )
    joined = combine(first, second)
    assert joined.based_on == (UserRevision(alice, 3), UserRevision(bob, 1))
    assert joined.peers == (Peer(alice), Peer(alice, role="x"))
    assert joined.handshakes == (b"1", b"2")
    assert joined.device == b"d"
    assert combine(first, Changes(device=b"e")).device == b"e"
    assert combine(Changes(), Changes()) == Changes()


def test_addresses_name_every_active_device() -> None:
    device_list = make_record("bob").device_list
    second = device_list.devices[0]._replace(number=DeviceNumber(7))
    assert addresses(device_list._replace(devices=(device_list.devices[0], second))) == (
        "bob-1",
        "bob-7",
    )


def test_a_withdrawn_user_keeps_the_pinned_key_and_only_decrypts() -> None:
    alice, bob = make_pair()
    alice.send(bob)
    assert not is_withdrawn(empty_state(bob.user))
    assert not is_withdrawn(alice.states[bob.user])
    before = alice.states[bob.user]
    state, changes = plan_withdrawal(before, NOW)
    assert is_withdrawn(state)
    assert not state.trusted
    assert state.peer == before.peer._replace(relation=None)
    assert without_session(state) == (bob.address,)
    assert [len(one.archived) for one in state.sessions.values()] == [1]
    assert changes == Changes(based_on=(UserRevision(bob.user, 0),), peers=(state.peer,))


def test_a_sender_of_ever_new_streams_takes_the_room_of_32_and_loses_no_message() -> None:
    alice, bob = make_pair()
    texts = [str(number) for number in range(MAX_STREAMS + 3)]
    for text in texts:
        record = alice.own.record._replace(stream_id=entropy.draw_stream_id())
        alice.own = replace(alice.own, record=record)
        if text == "0":
            peer = alice.states[bob.user].peer._replace(next_sequence=2)
            alice.states[bob.user] = replace(alice.states[bob.user], peer=peer)
        changes, _ = bob.receive(alice.address, alice.send(bob, text), NOW + int(text))
        assert len(bob.states[alice.user].streams) == min(int(text) + 1, MAX_STREAMS)
        assert len([one for one in changes.streams if one.gone]) == (int(text) >= MAX_STREAMS)
    assert bob.handed_over == texts[:3]
