"""What another account key means, what verifying does, and what a replaced device gets."""

from dataclasses import replace

import pytest

from client_sdk import entropy
from client_sdk.core.device_lists import superseded_list
from client_sdk.core.errors import InvalidSignatureError
from client_sdk.core.keys import Ed25519KeyPair
from client_sdk.core.session_record import archive_current
from client_sdk.machine.changes import Changes
from client_sdk.machine.device import FIRST_PLACE, ListPlace, load_device, new_device
from client_sdk.machine.devices import MAX_SUPERSEDED_KEYS, adopt_device_list
from client_sdk.machine.errors import DeviceListError, IdentityChangedError, NotComparedError
from client_sdk.machine.events import Failed, IdentityChanged
from client_sdk.machine.identity import (
    IDENTITY_CHANGED,
    Identity,
    UnderWay,
    identity_of,
    key_to_compare,
    plan_other_identity,
    plan_shown,
    plan_trust,
    plan_verify,
)
from client_sdk.machine.rows import MessageState, OutboxEnvelope, StateChange
from client_sdk.machine.state import PeerState, based_on
from client_sdk.wire.bundle import NO_PREVIOUS_LIST, DeviceList, device_list_hash
from client_sdk.wire.directory import DeviceListReply, Relation
from client_sdk.wire.encoded_keys import AccountKey, Signature
from client_sdk.wire.ids import DeviceAddress, DeviceNumber, EnvelopeId, MessageId
from tests.unit.machine.machine_parties import (
    NOW,
    Party,
    draw_device,
    make_invitation,
    make_pair,
    make_party,
    serialised,
)

NOTHING = UnderWay((), ())
ME = make_party("me").user
ME_1 = DeviceAddress("me-1")


def reply(device_list: DeviceList, relation: Relation = Relation.CONTACT) -> DeviceListReply:
    return DeviceListReply(device_list, relation, "patient", "Bob B")


def back(user: str, number: int, account: Ed25519KeyPair | None = None) -> Party:
    """Return a user's new device: under a new account key, or back in its chain."""
    fresh = draw_device()
    place = ListPlace(DeviceNumber(number), 1, NO_PREVIOUS_LIST)
    if account is not None:
        fresh = replace(fresh, account=account)
    return Party(load_device(new_device(make_invitation(user), fresh, NOW, place)))


def recovered(party: Party, number: int = 2) -> Party:
    """Return the device of a user who lost all others and has the recovery code."""
    known = party.own.record.device_list
    account = Ed25519KeyPair.from_private_bytes(party.own.record.account_private)
    place = ListPlace(DeviceNumber(number), known.version + 1, device_list_hash(known))
    fresh = replace(draw_device(), account=account)
    return Party(load_device(new_device(make_invitation(party.user), fresh, NOW, place)))


def conversation() -> tuple[PeerState, Party]:
    """Return what alice knows of bob, with a session, and bob."""
    alice, bob = make_pair()
    alice.send(bob)
    return alice.states[bob.user], bob


def under_way(*devices: str) -> UnderWay:
    message_id = entropy.draw_message_id()
    envelopes = tuple(
        OutboxEnvelope(
            EnvelopeId(entropy.draw_id()),
            DeviceAddress(one),
            ME,
            message_id,
            b"sealed",
            NOW,
        )
        for one in devices
    )
    return UnderWay(envelopes, (message_id,))


def verified(state: PeerState) -> PeerState:
    return plan_verify(state, NOW).state


def test_another_key_of_an_unverified_user_is_taken_and_told() -> None:
    state, bob = conversation()
    new, waiting = back("bob", 2), under_way("bob-1")
    step = plan_other_identity(state, reply(new.own.record.device_list), ME, waiting, NOW)
    (message_id,) = waiting.messages
    assert step.events == (
        IdentityChanged(bob.user),
        Failed(message_id, bob.user, IDENTITY_CHANGED),
    )
    peer = step.state.peer
    assert peer.account_key == new.own.record.device_list.account_key
    assert peer.superseded == (bob.own.record.device_list.account_key,)
    assert (peer.role, peer.name) == ("patient", "Bob B")
    assert step.state.devices == (new.address,)
    assert step.changes == Changes(
        based_on=based_on(state),
        peers=(peer,),
        states=(StateChange(message_id, ME, MessageState.FAILED),),
        envelopes_gone=(waiting.envelopes[0].envelope_id,),
        devices_gone=(bob.address,),
    )
    assert identity_of(peer) is Identity.UNVERIFIED


def test_sessions_under_the_earlier_key_are_deleted() -> None:
    state, bob = conversation()
    new = back("bob", 2)
    step = plan_other_identity(state, reply(new.own.record.device_list), ME, NOTHING, NOW)
    assert bob.address in state.sessions
    assert step.state.sessions == {}
    assert step.changes.devices_gone == (bob.address,)
    assert plan_shown(state).changed_sessions(state) == ()


def test_devices_that_are_under_the_new_key_as_well_keep_what_lies_there_for_them() -> None:
    state, bob = conversation()
    fresh = replace(
        draw_device(),
        signing=bob.own.signing,
        identity=bob.own.local.identity,
    )
    successor = new_device(make_invitation("bob"), fresh, NOW).device_list
    two = under_way("bob-1", "bob-3")
    lost = under_way("bob-3")
    waiting = UnderWay((*two.envelopes, *lost.envelopes), (*two.messages, *lost.messages))
    step = plan_other_identity(state, reply(successor), ME, waiting, NOW)
    assert step.events == (
        IdentityChanged(bob.user),
        Failed(lost.messages[0], bob.user, IDENTITY_CHANGED),
    )
    assert step.changes.envelopes_gone == (
        two.envelopes[1].envelope_id,
        lost.envelopes[0].envelope_id,
    )
    archived = step.state.sessions[bob.address]
    assert archived == archive_current(state.sessions[bob.address], NOW)
    assert step.changes.devices_gone == ()
    assert step.state.peer.next_sequence == state.peer.next_sequence


def test_another_key_of_a_verified_user_is_not_taken() -> None:
    state, bob = conversation()
    known, new, waiting = verified(state), back("bob", 2), under_way("bob-1")
    step = plan_other_identity(known, reply(new.own.record.device_list), ME, waiting, NOW)
    assert step.events[0] == IdentityChanged(bob.user, held=True)
    assert [type(one) for one in step.events[1:]] == [Failed]
    assert step.changes.envelopes_gone == (waiting.envelopes[0].envelope_id,)
    assert step.state.is_held
    assert identity_of(step.state.peer) is Identity.CHANGED
    assert step.state.device_list == known.device_list
    assert step.state.peer.account_key == known.peer.account_key
    assert serialised(step.state) == serialised(known)
    assert key_to_compare(step.state.peer) == new.own.record.device_list.account_key


def test_a_held_change_is_told_once_and_the_newest_offer_counts() -> None:
    state, bob = conversation()
    new = back("bob", 2)
    first = reply(new.own.record.device_list)
    held = plan_other_identity(verified(state), first, ME, NOTHING, NOW).state
    again = plan_other_identity(held, first, ME, NOTHING, NOW)
    assert (again.state, again.changes, again.events) == (held, Changes(), ())
    newer = recovered(new, 3)
    later = plan_other_identity(held, reply(newer.own.record.device_list), ME, NOTHING, NOW)
    assert later.events == ()
    assert plan_trust(later.state, NOW).state.devices == (newer.address,)
    third = back("bob", 4)
    other = plan_other_identity(later.state, reply(third.own.record.device_list), ME, NOTHING, NOW)
    assert other.events == (IdentityChanged(bob.user, held=True),)


def test_the_earlier_key_given_again_ends_the_hold() -> None:
    state, bob = conversation()
    known = verified(state)
    offer = reply(back("bob", 2).own.record.device_list)
    held = plan_other_identity(known, offer, ME, NOTHING, NOW).state
    after, _ = adopt_device_list(held, bob.list_reply())
    assert identity_of(after.peer) is Identity.VERIFIED


def test_trust_takes_the_new_key_unverified_and_verify_takes_it_verified() -> None:
    state, bob = conversation()
    new = back("bob", 2)
    held = plan_other_identity(
        verified(state), reply(new.own.record.device_list), ME, NOTHING, NOW
    ).state
    shown = plan_shown(held).state
    for plan, before, identity in (
        (plan_trust, held, Identity.UNVERIFIED),
        (plan_verify, shown, Identity.VERIFIED),
    ):
        step = plan(before, NOW)
        assert identity_of(step.state.peer) is identity
        assert step.state.devices == (new.address,)
        assert step.state.peer.superseded == (bob.own.record.device_list.account_key,)
        assert step.changes == Changes(
            based_on=based_on(before), peers=(step.state.peer,), devices_gone=(bob.address,)
        )
        assert step.state.sessions == {}


def test_trust_without_a_change_leaves_everything() -> None:
    state, _ = conversation()
    for one in (state, verified(state)):
        step = plan_trust(one, NOW)
        assert (step.state, step.changes, step.events) == (one, Changes(), ())


def test_verify_is_about_the_number_that_was_shown() -> None:
    state, _ = conversation()
    shown = plan_shown(state)
    assert shown.changes.peers == (shown.state.peer,)
    assert plan_shown(shown.state).changes == Changes()
    known = plan_verify(shown.state, NOW).state
    offer = reply(back("bob", 2).own.record.device_list)
    held = plan_other_identity(known, offer, ME, NOTHING, NOW).state
    with pytest.raises(NotComparedError):
        plan_verify(held, NOW)
    compared = plan_shown(held).state
    assert identity_of(plan_verify(compared, NOW).state.peer) is Identity.VERIFIED
    unverified = plan_other_identity(shown.state, offer, ME, NOTHING, NOW).state
    with pytest.raises(NotComparedError):
        plan_verify(unverified, NOW)


def test_another_key_is_not_verified_before_its_number_was_shown_at_all() -> None:
    state, _ = conversation()
    known = plan_verify(state, NOW).state  # compared in another way: no number was shown
    offer = reply(back("bob", 2).own.record.device_list)
    held = plan_other_identity(known, offer, ME, NOTHING, NOW).state
    with pytest.raises(NotComparedError, match="nothing was changed"):
        plan_verify(held, NOW)
    compared = plan_shown(held).state
    newer = reply(back("bob", 3).own.record.device_list)
    again = plan_other_identity(compared, newer, ME, NOTHING, NOW).state
    with pytest.raises(NotComparedError):
        plan_verify(again, NOW)
    assert identity_of(plan_verify(compared, NOW).state.peer) is Identity.VERIFIED


def test_a_key_that_was_replaced_never_comes_back() -> None:
    state, bob = conversation()
    new = back("bob", 2)
    changed = plan_other_identity(state, reply(new.own.record.device_list), ME, NOTHING, NOW).state
    for one in (changed, verified(changed)):
        with pytest.raises(DeviceListError):
            plan_other_identity(one, bob.list_reply(), ME, NOTHING, NOW)


@pytest.mark.parametrize(("count", "taken"), [(-1, True), (0, False)])
def test_with_too_many_replaced_keys_no_change_is_taken(count: int, taken: bool) -> None:
    state, _ = conversation()
    many = tuple(AccountKey(b"%033d" % n) for n in range(MAX_SUPERSEDED_KEYS + count))
    full = replace(state, peer=state.peer._replace(superseded=many))
    offer = reply(back("bob", 2).own.record.device_list)
    if taken:
        step = plan_other_identity(full, offer, ME, NOTHING, NOW)
        assert len(step.state.peer.superseded) == MAX_SUPERSEDED_KEYS
    else:
        with pytest.raises(DeviceListError):
            plan_other_identity(full, offer, ME, NOTHING, NOW)


def test_an_offered_list_with_a_bad_signature_changes_nothing() -> None:
    state, _ = conversation()
    good = back("bob", 2).own.record.device_list
    entry = good.devices[0]._replace(endorsement=Signature(bytes(64)))
    for bad in (good._replace(signature=Signature(bytes(64))), good._replace(devices=(entry,))):
        with pytest.raises(InvalidSignatureError):
            plan_other_identity(state, reply(bad), ME, NOTHING, NOW)


def test_a_user_back_on_a_new_device_is_caught_up_and_the_lost_one_is_forgotten() -> None:
    state, bob = conversation()
    known = replace(verified(state), local=ME_1)
    new = recovered(bob)
    after, changes = adopt_device_list(known, reply(new.own.record.device_list))
    assert [(one.device, one.user) for one in changes.catch_up] == [(new.address, bob.user)]
    assert changes.devices_gone == (bob.address,)
    assert after.sessions == {}
    assert after.peer.next_sequence == state.peer.next_sequence
    assert identity_of(after.peer) is Identity.VERIFIED


def test_where_every_device_stays_nothing_is_sent_again() -> None:
    state, bob = conversation()
    same, changes = adopt_device_list(replace(state, local=ME_1), bob.list_reply())
    assert (changes.catch_up, changes.devices_gone) == ((), ())
    assert same.sessions == state.sessions
    unknown = replace(state, device_list=None, local=ME_1)
    _, changes = adopt_device_list(unknown, bob.list_reply())
    assert (changes.catch_up, changes.devices_gone) == ((), ())


def successor_of(bob: Party) -> tuple[Ed25519KeyPair, DeviceList]:
    """Return the account's next key and the list by which bob's own key names it."""
    old, new = bob.own.account, entropy.draw_ed25519()
    assert old is not None
    known = bob.own.record.device_list
    return new, superseded_list(old, new, known, known.devices)


def test_a_key_that_the_old_one_signed_is_held_for_a_verified_user_as_any_other() -> None:
    state, bob = conversation()
    _, following = successor_of(bob)
    known = verified(state)
    with pytest.raises(IdentityChangedError):
        adopt_device_list(known, reply(following))
    step = plan_other_identity(known, reply(following), ME, NOTHING, NOW)
    assert step.events == (IdentityChanged(bob.user, held=True),)
    assert step.state.is_held
    trusted = plan_trust(step.state, NOW).state
    assert trusted.peer.account_key == following.account_key
    assert trusted.peer.superseded == (known.peer.account_key,)


def test_keys_that_a_list_puts_aside_are_refused_for_ever_though_never_seen_before() -> None:
    state, bob = conversation()
    _, following = successor_of(bob)
    unknown = replace(state, device_list=None, peer=state.peer._replace(account_key=None))
    first, _ = adopt_device_list(unknown, reply(following))
    old_key = bob.own.record.device_list.account_key
    assert first.peer.superseded == (old_key,)
    with pytest.raises(DeviceListError, match="replaced before"):
        plan_other_identity(first, bob.list_reply(), ME, NOTHING, NOW)


def test_a_succession_to_a_key_that_was_replaced_before_is_refused() -> None:
    state, bob = conversation()
    new, following = successor_of(bob)
    aside = state.peer._replace(superseded=(AccountKey(new.public),))
    with pytest.raises(DeviceListError, match="replaced before"):
        adopt_device_list(replace(state, peer=aside), reply(following))


def test_the_first_place_is_that_of_a_new_account() -> None:
    assert FIRST_PLACE == (1, 1, NO_PREVIOUS_LIST, ())
    message_id = MessageId(bytes(16))
    assert Failed(message_id, ME, IDENTITY_CHANGED).id == message_id.hex()
