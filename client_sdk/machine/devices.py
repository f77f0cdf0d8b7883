"""Which device list of a user is believed, and what a contact's row becomes."""

from collections.abc import Container, Iterable
from dataclasses import replace
from enum import Enum
from typing import Final

from client_sdk.core.device_lists import verify_follows
from client_sdk.core.errors import InvalidBundleError
from client_sdk.core.session_record import archive_current
from client_sdk.core.signatures import verify_device_list, verify_endorsements
from client_sdk.machine.changes import Changes
from client_sdk.machine.errors import (
    DeviceListError,
    EquivocationError,
    IdentityChangedError,
)
from client_sdk.machine.events import DeviceListChanged, Event, IdentityChanged
from client_sdk.machine.receiving import released_from
from client_sdk.machine.rows import CatchUp, Peer
from client_sdk.machine.state import PeerState, based_on
from client_sdk.wire.bundle import DeviceList, addresses, list_mark
from client_sdk.wire.codec import encode
from client_sdk.wire.content import ListMark
from client_sdk.wire.directory import DeviceListReply
from client_sdk.wire.encoded_keys import AccountKey
from client_sdk.wire.ids import DeviceAddress, UserName, device_address

MAX_SUPERSEDED_KEYS: Final = 1000
"""Account keys of one user that were replaced and are remembered, 33 KB: with more of them no
further change is taken, for one that is forgotten could come back."""


def adopt_device_list(state: PeerState, reply: DeviceListReply) -> tuple[PeerState, Changes]:
    """Take a user's device list from the directory: the first is trusted on first use.

    Later ones have to follow the known one, one by one, each naming the one before.

    Args:
        state: What is known of the user so far.
        reply: The directory's verified answer.

    Raises:
        IdentityChangedError: The list is under another account key than the pinned one, which
            was compared or has not signed it; ``machine.identity`` decides what follows.
        EquivocationError: It is another list of the known version.
        DeviceListError: It is another user's, older, or does not follow the known one.
        ProtocolError: A signature or a key in it is bad. In every case nothing changed.
    """
    offered = reply.device_list
    if any(one.user != state.user for one in (*reply.earlier, offered)):
        raise DeviceListError("the directory answered with another user's device list")
    if state.device_list is None:
        verify_device_list(offered)
        verify_endorsements(offered)
        if state.peer.account_key not in {None, offered.account_key}:
            raise _other_account(state.user)
    else:
        _check_successors(state, state.device_list, (*reply.earlier, offered))
    peer = state.peer._replace(
        account_key=offered.account_key,
        device_list=encode(offered),
        relation=reply.relation,
        role=reply.role,
        name=reply.name,
        offered_list=None,
        superseded=put_aside(state, offered),
        absent=bytes(reply.absent),
    )
    changed, gone = left_with(replace(state, peer=peer, device_list=offered), state.devices)
    return changed, Changes(
        based_on=based_on(state),
        peers=(peer,),
        states=released_from(state, gone),
        catch_up=_catch_up(state, changed),
        devices_gone=gone,
    )


def put_aside(state: PeerState, offered: DeviceList) -> tuple[AccountKey, ...]:
    """Return the account keys of a user that are never taken again once ``offered`` is adopted.

    Raises:
        DeviceListError: ``offered`` is under one of them, or there are too many to remember.
    """
    named = tuple(one.account_key for one in offered.superseded)
    pinned = () if state.peer.account_key is None else (state.peer.account_key,)
    known = dict.fromkeys((*state.peer.superseded, *named, *pinned))
    if offered.account_key in state.peer.superseded:
        raise DeviceListError(
            f"the directory gives an account key of {state.user} that was replaced before; it was "
            "refused"
        )
    known.pop(offered.account_key, None)
    if len(known) > MAX_SUPERSEDED_KEYS:
        raise DeviceListError(
            f"the account key of {state.user} was replaced {MAX_SUPERSEDED_KEYS} times; the next "
            "one was refused"
        )
    return tuple(known)


def left_with(
    state: PeerState, before: Iterable[DeviceAddress], kept: Container[DeviceAddress] | None = None
) -> tuple[PeerState, tuple[DeviceAddress, ...]]:
    """Return a state without all that belongs to devices that have left, and those devices.

    Args:
        state: With the new list.
        before: The devices of the list before.
        kept: Those that stay; None for those of the new list.
    """
    staying = state.devices if kept is None else kept
    gone = tuple(one for one in before if one not in staying)
    if not gone:
        return state, gone
    remaining = replace(
        state,
        sessions={one: kept for one, kept in state.sessions.items() if one not in gone},
        streams={key: kept for key, kept in state.streams.items() if key[0] not in gone},
        starts={one: kept for one, kept in state.starts.items() if one not in gone},
        late=state.late - set(gone),
    )
    return remaining, gone


def list_news(before: DeviceList | None, after: DeviceList) -> tuple[Event, ...]:
    """Return what the app is told of a newly adopted list; nothing of a first one."""
    if before is None or before == after:
        return ()
    known, now = addresses(before), addresses(after)
    added = tuple(one for one in now if one not in known)
    removed = tuple(one for one in known if one not in now)
    changed: Event = DeviceListChanged(after.user, after.version, added, removed)
    if before.account_key == after.account_key:
        return (changed,)
    return (changed, IdentityChanged(after.user))


def plan_withdrawal(state: PeerState, now: int) -> tuple[PeerState, Changes]:
    """Stop dealing with a user whom the policy no longer lets this one reach.

    Their sessions are archived: nothing more is encrypted before the directory gives a bundle
    again. The account key stays pinned. The caller adds the rows of all sessions.

    Args:
        state: What is known of the user.
        now: ms since 1970.
    """
    sessions = {device: archive_current(one, now) for device, one in state.sessions.items()}
    peer = state.peer._replace(relation=None)
    changed = replace(state, peer=peer, sessions=sessions)
    return changed, Changes(based_on=based_on(state), peers=(peer,))


def is_withdrawn(state: PeerState) -> bool:
    """Tell whether a user is known, and the directory's policy last said: no contact."""
    return state.device_list is not None and state.peer.relation is None


def plan_consent(
    state: PeerState, *, accepted: bool | None = None, blocked: bool | None = None
) -> tuple[PeerState, Changes]:
    """Accept, block or unblock a user; ``None`` leaves that side as it is.

    Accepting also goes on with the known device list after an equivocation.
    """
    peer: Peer = state.peer._replace(
        accepted=state.peer.accepted if accepted is None else accepted,
        blocked=state.peer.blocked if blocked is None else blocked,
        equivocation=state.peer.equivocation and not accepted,
    )
    return replace(state, peer=peer), Changes(based_on=based_on(state), peers=(peer,))


def plan_equivocation(state: PeerState) -> tuple[PeerState, Changes]:
    """Stop sending to a user of whom two lists of one version were seen."""
    peer = state.peer._replace(equivocation=True)
    return replace(state, peer=peer), Changes(based_on=based_on(state), peers=(peer,))


class Gossip(Enum):
    """What the list that a peer names tells beside the list that is known here."""

    NOTHING = "nothing"
    NEWER = "newer"
    """The peer knows a newer list: fetch it."""
    OTHER = "other"
    """The same version with another hash: somebody was shown a false list."""


def compare_mark(known: DeviceList, mark: ListMark) -> Gossip:
    """Compare the list that sealed content names with the one that is known here."""
    if mark.version > known.version:
        return Gossip.NEWER
    if mark.version == known.version and mark != list_mark(known):
        return Gossip.OTHER
    return Gossip.NOTHING


def _catch_up(before: PeerState, after: PeerState) -> tuple[CatchUp, ...]:
    if before.device_list is None or after.device_list is None or after.local is None:
        return ()
    listed = {device_address(after.user, one.number): one for one in after.device_list.devices}
    added = [one for one in after.devices if one not in before.devices]
    return tuple(
        CatchUp(device, after.user, after.local, listed[device].added_at) for device in added
    )


def _check_successors(state: PeerState, known: DeviceList, offered: tuple[DeviceList, ...]) -> None:
    if offered == (known,):
        return
    for one in offered:
        if one.version == known.version and one != known:
            verify_device_list(one)
            _check_account(state, known, one)
            raise EquivocationError(
                f"two device lists of {known.user} have version {known.version}; the one that "
                "came later was refused, and nothing is sent to that user"
            )
        _check_account(state, known, one)
        try:
            verify_follows(known, one)
        except InvalidBundleError:
            raise DeviceListError(
                f"the directory gives a device list of {known.user} that does not follow the "
                "known one; it was refused"
            ) from None
        known = one


def _check_account(state: PeerState, known: DeviceList, offered: DeviceList) -> None:
    """Return only where the account key stays, or is one that follows without asking.

    It follows where the known key has signed it and nobody has compared the known one.
    """
    if offered.account_key == known.account_key:
        return
    signed = any(one.account_key == known.account_key for one in offered.superseded)
    if not signed or state.peer.verified:
        raise _other_account(known.user)


def _other_account(user: UserName) -> IdentityChangedError:
    return IdentityChangedError(
        f"the directory gives another account key for {user}; it was refused and "
        "nothing was sent; compare safety numbers before going on"
    )
