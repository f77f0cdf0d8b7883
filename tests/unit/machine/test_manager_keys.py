"""Who gets the account's private key after a manager was removed, and who never does."""

from collections.abc import Callable

import pytest

from client_sdk import entropy
from client_sdk.core.signatures import signed_by
from client_sdk.machine.changes import Changes
from client_sdk.machine.control import FreshContent, control_content, seal_for
from client_sdk.machine.device import DEVICE_RECORD, OwnDevice, load_device
from client_sdk.machine.errors import NoSessionError, UnknownDeviceError
from client_sdk.machine.manager_keys import (
    lacks_account_key,
    other_managers,
    plan_key_content,
    plan_key_given,
    plan_key_wanted,
)
from client_sdk.machine.opening import open_envelope
from client_sdk.machine.receiving import plan_receive
from client_sdk.machine.sending import without_session
from client_sdk.machine.state import PeerState
from client_sdk.wire.codec import encode
from client_sdk.wire.content import ContentKind
from client_sdk.wire.errors import MalformedError, ProtocolError
from client_sdk.wire.ids import DeviceAddress
from client_sdk.wire.manager_keys import AccountKeyGiven, AccountKeyWanted
from tests.unit.machine.household import (
    list_of,
    more_devices,
    own_state,
    pair_of_households,
    rekeyed,
    take_list,
)
from tests.unit.machine.machine_parties import NOW, Party, fresh_for, make_party

Plan = Callable[[OwnDevice, PeerState, DeviceAddress, FreshContent, int], tuple[PeerState, Changes]]


def household(managers: int, others: int = 0) -> list[Party]:
    """Return devices of one user, so many of them managers with the account's key."""
    devices = more_devices(make_party("alice"), managers + others - 1)
    account, known = devices[0].own.account, list_of(devices[0])
    assert account is not None
    entries = tuple(one._replace(manager=one.number <= managers) for one in known.devices)
    listed = signed_by(account, known._replace(devices=entries))
    for one in devices:
        take_list(one, listed)
    for one in devices[:managers]:
        one.own = load_device(one.own.record._replace(account_private=account.private_bytes()))
    return devices


def without_last_manager(devices: list[Party]) -> list[Party]:
    """Let the first device remove the last one; return those that stay, under the new list."""
    *staying, _ = devices
    newest = rekeyed(devices[0], *(entry.number for entry in list_of(devices[0]).devices[:-1]))
    for one in staying[1:]:
        take_list(one, newest)
    return staying


def sealed(sender: Party, receiver: Party, plan: Plan) -> Changes:
    own_state(sender)
    if receiver.address in without_session(sender.states[sender.user]):
        sender.begin(receiver)
    state = sender.states[sender.user]
    fresh = FreshContent(entropy.draw_message_id(), fresh_for(state)[receiver.address])
    moved, changes = plan(sender.own, state, receiver.address, fresh, NOW)
    sender.states[sender.user] = moved
    return changes


def arrives(
    sender: Party, receiver: Party, changes: Changes
) -> tuple[Changes, DeviceAddress | None]:
    (envelope,) = changes.envelopes
    state = own_state(receiver)
    arrived = receiver.arrived(sender.address, envelope)
    handshake = receiver.handshake(state, arrived)
    moved, opened = open_envelope(receiver.own, state, arrived, handshake, NOW)
    receiver.states[receiver.user] = moved
    found, wanted_by = plan_key_content(receiver.own, moved, opened, NOW)
    assert [one.envelope_id for one in found.opened] == [envelope.envelope_id]
    receiver.write(found)
    if found.device is not None:
        receiver.own = load_device(DEVICE_RECORD.decode(found.device))
    return found, wanted_by


def giving(kind: ContentKind, body: bytes) -> Plan:
    """Return a plan that seals any body, as no honest device does."""

    def plan(
        own: OwnDevice, state: PeerState, device: DeviceAddress, fresh: FreshContent, now: int
    ) -> tuple[PeerState, Changes]:
        content = control_content(own, state, (kind, body), fresh, now)
        moved, envelope = seal_for(state, device, content, fresh.envelope, now)
        return moved, Changes(envelopes=(envelope,))

    return plan


def test_a_manager_that_asks_gets_the_key_that_the_list_is_under() -> None:
    first, second, third = without_last_manager(household(4))
    assert not lacks_account_key(first.own)
    assert lacks_account_key(second.own)
    assert other_managers(second.own) == (first.address, third.address)
    _, wanted_by = arrives(second, first, sealed(second, first, plan_key_wanted))
    assert wanted_by == second.address
    found, asks = arrives(first, second, sealed(first, second, plan_key_given))
    assert asks is None
    assert found.device is not None
    assert not lacks_account_key(second.own)
    assert second.own.account == first.own.account
    _, wanted_by = arrives(third, second, sealed(third, second, plan_key_wanted))
    assert wanted_by == third.address  # whoever has it by now gives it on
    arrives(second, third, sealed(second, third, plan_key_given))
    assert third.own.account == first.own.account


def test_an_ordinary_device_neither_gets_the_key_nor_takes_it() -> None:
    first, _, ordinary = household(2, 1)
    assert not lacks_account_key(ordinary.own)
    _, wanted_by = arrives(ordinary, first, sealed(ordinary, first, plan_key_wanted))
    assert wanted_by is None
    assert sealed(first, ordinary, plan_key_given) == Changes()
    account = first.own.account
    assert account is not None
    body = encode(AccountKeyGiven(account.private_bytes()))
    given = sealed(first, ordinary, giving(ContentKind.ACCOUNT_KEY_GIVEN, body))
    assert arrives(first, ordinary, given)[0].device is None
    assert ordinary.own.account is None


def test_a_manager_without_the_key_gives_none() -> None:
    _, second, third = without_last_manager(household(4))
    _, wanted_by = arrives(third, second, sealed(third, second, plan_key_wanted))
    assert wanted_by is None
    assert sealed(second, third, plan_key_given) == Changes()


def test_a_request_that_names_another_key_is_not_answered() -> None:
    first, second, _ = without_last_manager(household(4))
    earlier = list_of(first).superseded[0].account_key
    body = encode(AccountKeyWanted(earlier))
    asked = sealed(second, first, giving(ContentKind.ACCOUNT_KEY_WANTED, body))
    assert arrives(second, first, asked)[1] is None


def test_only_the_key_of_the_known_list_is_taken_and_only_where_it_is_missing() -> None:
    first, second, _ = without_last_manager(household(4))
    other = encode(AccountKeyGiven(entropy.draw_ed25519().private_bytes()))
    for receiver, sender in ((second, first), (first, second)):
        before = receiver.own.record
        given = sealed(sender, receiver, giving(ContentKind.ACCOUNT_KEY_GIVEN, other))
        assert arrives(sender, receiver, given)[0].device is None
        assert receiver.own.record == before
    arrives(first, second, sealed(first, second, plan_key_given))
    again = sealed(first, second, plan_key_given)
    assert arrives(first, second, again)[0].device is None


def test_a_removed_manager_can_neither_ask_nor_give() -> None:
    devices = household(3)
    removed = devices[-1]
    asked = sealed(removed, devices[0], plan_key_wanted)
    first, second = without_last_manager(devices)
    with pytest.raises(UnknownDeviceError):
        arrives(removed, first, asked)
    assert sealed(first, second, plan_key_given).envelopes
    own_state(first)
    assert removed.address not in first.states[first.user].devices


def test_without_a_session_nothing_is_sealed() -> None:
    first, second, _ = without_last_manager(household(4))
    state = own_state(first)
    fresh = FreshContent(entropy.draw_message_id(), fresh_for(state)[second.address])
    for plan in (plan_key_given, plan_key_wanted):
        with pytest.raises(NoSessionError):
            plan(first.own, state, second.address, fresh, NOW)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (ContentKind.ACCOUNT_KEY_WANTED, b"\x90"),
        (ContentKind.ACCOUNT_KEY_GIVEN, b"\x91\xc4\x1f" + bytes(31)),
    ],
)
def test_a_body_that_is_none_is_refused(kind: ContentKind, body: bytes) -> None:
    first, second, _ = without_last_manager(household(4))
    with pytest.raises(ProtocolError):
        arrives(second, first, sealed(second, first, giving(kind, body)))


@pytest.mark.parametrize("kind", [ContentKind.ACCOUNT_KEY_WANTED, ContentKind.ACCOUNT_KEY_GIVEN])
def test_another_user_has_no_part_in_it(kind: ContentKind) -> None:
    (alice,), (bob,) = pair_of_households(1, 1)
    bob.begin(alice)
    state = bob.states[alice.user]
    fresh = FreshContent(entropy.draw_message_id(), fresh_for(state)[alice.address])
    _, changes = giving(kind, b"")(bob.own, state, alice.address, fresh, NOW)
    (envelope,) = changes.envelopes
    theirs = alice.states[bob.user]
    arrived = alice.arrived(bob.address, envelope)
    handshake = alice.handshake(theirs, arrived)
    moved, opened = open_envelope(alice.own, theirs, arrived, handshake, NOW)
    with pytest.raises(MalformedError, match="another user"):
        plan_key_content(alice.own, moved, opened, NOW)
    with pytest.raises(MalformedError, match="not known here"):
        plan_receive(moved, opened, NOW, known=False)


def test_the_key_shows_in_no_repr() -> None:
    assert repr(AccountKeyGiven(bytes(32))) == "AccountKeyGiven(...)"
