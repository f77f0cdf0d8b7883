"""Whose account key is believed: what a user's new key means, and what verifying changes.

A contact whose key was compared is *verified*. Another key for a verified contact stops sending to
them, and nothing from the new key is shown, until the app says ``trust`` or ``verify``. For anybody
else the app is told, and messages go on under the new key.
"""

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Final, NamedTuple

from client_sdk.core.session_record import archive_current
from client_sdk.core.signatures import verify_device_list, verify_endorsements
from client_sdk.machine.changes import Changes
from client_sdk.machine.devices import left_with, put_aside
from client_sdk.machine.errors import NotComparedError
from client_sdk.machine.events import Event, Failed, IdentityChanged
from client_sdk.machine.receiving import released_from
from client_sdk.machine.rows import MessageState, OutboxEnvelope, Peer, StateChange
from client_sdk.machine.state import PeerState, based_on
from client_sdk.wire.bundle import DEVICE_LIST, DeviceEntry, DeviceList
from client_sdk.wire.codec import encode
from client_sdk.wire.directory import DeviceListReply
from client_sdk.wire.encoded_keys import AccountKey
from client_sdk.wire.ids import DeviceAddress, MessageId, UserName, device_address

IDENTITY_CHANGED: Final = "identity_changed"
"""Why a message that was encrypted for devices under the earlier key is not sent again."""


class Identity(StrEnum):
    """What is known of a user's account key."""

    UNVERIFIED = "unverified"
    """Trusted on first use."""
    VERIFIED = "verified"
    CHANGED = "changed"
    """Was verified, and the directory gives another key now: nothing is sent to the user."""


class UnderWay(NamedTuple):
    """What is on its way to one user and has no receipt of any device."""

    envelopes: Sequence[OutboxEnvelope]
    messages: Sequence[MessageId]


class IdentityStep(NamedTuple):
    """A decision about a user's identity; the caller adds the rows of changed sessions."""

    state: PeerState
    changes: Changes
    events: tuple[Event, ...]

    def changed_sessions(self, before: PeerState) -> tuple[DeviceAddress, ...]:
        """Return the devices whose sessions are others than in ``before``: all of them or none."""
        same = self.state.sessions is before.sessions
        return () if same else tuple(self.state.sessions)


def identity_of(peer: Peer) -> Identity:
    """Return what is known of a user's account key."""
    if peer.offered_list is not None:
        return Identity.CHANGED
    return Identity.VERIFIED if peer.verified else Identity.UNVERIFIED


def key_to_compare(peer: Peer) -> AccountKey | None:
    """Return the account key that a safety number is about: the newest that was offered."""
    offered = _offered(peer)
    return peer.account_key if offered is None else offered.account_key


def plan_other_identity(
    state: PeerState,
    reply: DeviceListReply,
    own_user: UserName,
    under_way: UnderWay,
    now: int,
) -> IdentityStep:
    """Decide about a device list under another account key than the pinned one.

    Args:
        state: What is known of the user, a pinned key among it.
        reply: The directory's verified answer.
        own_user: This device's user.
        under_way: What was encrypted for devices under the pinned key. It is given up, for it
            may not be encrypted again for somebody else; for an unverified user what lies there
            for a device that the new key lists as well is left to it.
        now: ms since 1970.

    Raises:
        DeviceListError: The key is one that was replaced before.
        ProtocolError: A signature or a key is bad. In both cases nothing changed.
    """
    offered = reply.device_list
    verify_device_list(offered)
    verify_endorsements(offered)
    put_aside(state, offered)
    if state.peer.verified:
        return _hold(state, offered, own_user, under_way)
    told = state.peer._replace(
        relation=reply.relation, role=reply.role, name=reply.name, absent=bytes(reply.absent)
    )
    accepted, gone = _accept(replace(state, peer=told), offered, now, verified=False)
    staying = frozenset(state.devices) - frozenset(gone)
    given_up, failed = _give_up(state.user, own_user, under_way, staying)
    changes = replace(
        given_up,
        based_on=based_on(state),
        peers=(accepted.peer,),
        states=(*given_up.states, *released_from(state, gone)),
        devices_gone=gone,
    )
    return IdentityStep(accepted, changes, (IdentityChanged(state.user), *failed))


def plan_trust(state: PeerState, now: int) -> IdentityStep:
    """Take the new account key of a user whose identity changed, unverified; else nothing."""
    offered = _offered(state.peer)
    if offered is None:
        return IdentityStep(state, Changes(), ())
    return _accepted(state, *_accept(state, offered, now, verified=False))


def plan_verify(state: PeerState, now: int) -> IdentityStep:
    """Mark a user's account key as compared, and take it where it is a new one.

    Raises:
        NotComparedError: The safety number that was shown last is of another key, or none was
            shown and another key was offered than the one that was verified.
    """
    key, shown, offered = key_to_compare(state.peer), state.peer.shown_key, _offered(state.peer)
    if shown != key and (shown is not None or offered is not None):
        raise NotComparedError(
            f"the account key of {state.user} has changed and its new safety number was not shown; "
            f"nothing was changed; show it (safety-number {state.user}) and compare it first"
        )
    if offered is not None:
        return _accepted(state, *_accept(state, offered, now, verified=True))
    return _accepted(state, replace(state, peer=state.peer._replace(verified=True)))


def plan_shown(state: PeerState) -> IdentityStep:
    """Remember which account key's safety number was shown; verifying is about that one."""
    key = key_to_compare(state.peer)
    if state.peer.shown_key == key:
        return IdentityStep(state, Changes(), ())
    return _accepted(state, replace(state, peer=state.peer._replace(shown_key=key)))


def _hold(
    state: PeerState, offered: DeviceList, own_user: UserName, under_way: UnderWay
) -> IdentityStep:
    earlier = _offered(state.peer)
    told: tuple[Event, ...] = (IdentityChanged(state.user, held=True),)
    if earlier is not None and earlier.account_key == offered.account_key:
        if offered.version <= earlier.version:
            return IdentityStep(state, Changes(), ())
        told = ()
    peer = state.peer._replace(offered_list=encode(offered))
    given_up, failed = _give_up(state.user, own_user, under_way, frozenset())
    changes = replace(given_up, based_on=based_on(state), peers=(peer,))
    return IdentityStep(replace(state, peer=peer), changes, (*told, *failed))


def _give_up(
    user: UserName, own_user: UserName, under_way: UnderWay, staying: frozenset[DeviceAddress]
) -> tuple[Changes, tuple[Event, ...]]:
    kept = {one.message_id for one in under_way.envelopes if one.recipient in staying}
    failed = [one for one in under_way.messages if one not in kept]
    gone = (one.envelope_id for one in under_way.envelopes if one.recipient not in staying)
    changes = Changes(
        states=tuple(StateChange(one, own_user, MessageState.FAILED) for one in failed),
        envelopes_gone=tuple(gone),
    )
    return changes, tuple(Failed(one, user, IDENTITY_CHANGED) for one in failed)


def _accept(
    state: PeerState, offered: DeviceList, now: int, *, verified: bool
) -> tuple[PeerState, tuple[DeviceAddress, ...]]:
    """Return the state under another account key, and the devices that have left with the old."""
    peer = state.peer._replace(
        account_key=offered.account_key,
        device_list=encode(offered),
        verified=verified,
        offered_list=None,
        superseded=put_aside(state, offered),
    )
    staying = _staying(state.device_list, offered)
    listed = replace(state, peer=peer, device_list=offered)
    accepted, gone = left_with(listed, state.devices, staying)
    sessions = {one: archive_current(record, now) for one, record in accepted.sessions.items()}
    return replace(accepted, sessions=sessions), gone


def _staying(known: DeviceList | None, offered: DeviceList) -> frozenset[DeviceAddress]:
    """Return the devices of both lists; each has endorsed the offered account key itself."""
    before = set() if known is None else {_device_keys(one) for one in known.devices}
    return frozenset(
        device_address(offered.user, one.number)
        for one in offered.devices
        if _device_keys(one) in before
    )


def _device_keys(entry: DeviceEntry) -> tuple[int, bytes, bytes]:
    return entry.number, entry.signing_key, entry.identity_key


def _accepted(
    before: PeerState, after: PeerState, gone: tuple[DeviceAddress, ...] = ()
) -> IdentityStep:
    changes = Changes(
        based_on=based_on(before),
        peers=(after.peer,),
        states=released_from(before, gone),
        devices_gone=gone,
    )
    return IdentityStep(after, changes, ())


def _offered(peer: Peer) -> DeviceList | None:
    return None if peer.offered_list is None else DEVICE_LIST.decode(peer.offered_list)
