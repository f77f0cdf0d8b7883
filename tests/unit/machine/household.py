"""Several devices of one user beside another's, with real keys and no I/O."""

from dataclasses import replace

from client_sdk import entropy
from client_sdk.core.device_lists import list_with, list_without, superseded_list
from client_sdk.core.signatures import endorse
from client_sdk.machine.changes import Changes
from client_sdk.machine.device import load_device, with_list
from client_sdk.machine.devices import adopt_device_list
from client_sdk.machine.late import LateMessage, plan_late
from client_sdk.machine.rows import OutboxEnvelope
from client_sdk.machine.sending import plan_message, without_session
from client_sdk.machine.state import PeerState
from client_sdk.wire.bundle import DeviceEntry, DeviceList
from client_sdk.wire.directory import DeviceListReply, Relation
from client_sdk.wire.encoded_keys import IdentityKey, SigningKey
from client_sdk.wire.ids import DeviceAddress, DeviceNumber, UserName, device_address
from tests.unit.machine.machine_parties import (
    NOW,
    Party,
    empty_state,
    fresh_for,
    make_party,
    make_record,
)


def list_of(party: Party) -> DeviceList:
    return party.own.record.device_list


def take_list(party: Party, device_list: DeviceList) -> None:
    """Let a device have a list of its own user."""
    party.own = load_device(with_list(party.own.record, device_list))


def reply(device_list: DeviceList, *earlier: DeviceList) -> DeviceListReply:
    return DeviceListReply(device_list, Relation.CONTACT, "", "", earlier=earlier)


def more_devices(first: Party, count: int) -> list[Party]:
    """Return ``first`` and so many further devices of its user, all with the same newest list."""
    account = first.own.account
    assert account is not None
    devices, known = [first], list_of(first)
    for _ in range(count):
        number = DeviceNumber(known.next_number)
        address = device_address(first.user, number)
        record = make_record(first.user)._replace(address=address, account_private=None)
        own = load_device(record)
        entry = DeviceEntry(
            number=number,
            signing_key=SigningKey(own.signing.public),
            identity_key=IdentityKey(own.local.identity.public),
            added_at=NOW,
            manager=False,
            endorsement=endorse(own.signing, address, known.account_key),
        )
        known = list_with(account, known, entry)
        devices.append(Party(load_device(record._replace(device_list=known))))
    for one in devices:
        take_list(one, known)
    return devices


def without(first: Party, number: int) -> DeviceList:
    account = first.own.account
    assert account is not None
    return list_without(account, list_of(first), DeviceNumber(number))


def rekeyed(first: Party, *numbers: int) -> DeviceList:
    """Return the next list under another account key, of these devices; ``first`` takes it."""
    account, following = first.own.account, entropy.draw_ed25519()
    assert account is not None
    kept = tuple(one for one in list_of(first).devices if one.number in numbers)
    newest = superseded_list(account, following, list_of(first), kept)
    record = first.own.record._replace(next_account_private=following.private_bytes())
    first.own = load_device(with_list(record, newest))
    return newest


def meet(party: Party, others: list[Party]) -> None:
    """Let a device know another user's newest list."""
    user = others[0].user
    state = replace(party.state(user), local=party.address)
    party.states[user] = adopt_device_list(state, reply(list_of(others[0])))[0]


def own_state(party: Party) -> PeerState:
    """Return what a device knows of its own user's other devices."""
    state = party.states.get(party.user) or empty_state(party.user)
    peer = state.peer._replace(relation=Relation.CONTACT)
    state = replace(state, peer=peer, device_list=list_of(party), local=party.address)
    party.states[party.user] = state
    return state


def write_to(
    party: Party, others: list[Party], text: str, only: list[Party] | None = None
) -> tuple[dict[DeviceAddress, OutboxEnvelope], Changes]:
    """Send one message to every device that is not in ``only``'s complement."""
    user: UserName = others[0].user
    for other in only or others:
        if other.address in without_session(party.states[user]):
            party.begin(other)
    state = party.states[user]
    wanted = {one.address for one in only or others}
    fresh = {device: one for device, one in fresh_for(state).items() if device in wanted}
    message = party.queue(user, text)
    party.messages[message.message_id] = message
    moved, changes = plan_message(party.own, state, message, fresh, NOW)
    party.states[user] = moved
    return {one.recipient: one for one in changes.envelopes}, changes


def write_late(party: Party, device: Party, waiting: LateMessage) -> OutboxEnvelope:
    """Send one late message to one device, of another user or of the sender's own."""
    if device.user == party.user:
        own_state(party)
    if device.address in without_session(party.states[device.user]):
        party.begin(device)
    state = party.states[device.user]
    fresh = {one: keys for one, keys in fresh_for(state).items() if one == device.address}
    moved, changes = plan_late(party.own, state, waiting, fresh, NOW)
    party.states[device.user] = moved
    (envelope,) = changes.envelopes
    assert changes.late_done == (waiting.late,)
    return envelope


def pair_of_households(mine: int = 2, theirs: int = 1) -> tuple[list[Party], list[Party]]:
    """Return the devices of alice and of bob, who all know both lists."""
    alices = more_devices(make_party("alice"), mine - 1)
    bobs = more_devices(make_party("bob"), theirs - 1)
    for one in alices:
        meet(one, bobs)
        own_state(one)
    for one in bobs:
        meet(one, alices)
        own_state(one)
    return alices, bobs
