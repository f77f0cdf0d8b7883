"""Which device list of a user is believed, and what a contact's row becomes."""

from dataclasses import replace

from client_sdk.core.session_record import archive_current
from client_sdk.core.signatures import verify_device_list, verify_endorsements
from client_sdk.machine.changes import Changes, Peer
from client_sdk.machine.errors import DeviceListError, IdentityChangedError
from client_sdk.machine.state import PeerState, based_on
from client_sdk.wire.bundle import DeviceList, device_list_hash
from client_sdk.wire.codec import encode
from client_sdk.wire.directory import DeviceListReply
from client_sdk.wire.ids import UserName


def adopt_device_list(state: PeerState, reply: DeviceListReply) -> tuple[PeerState, Changes]:
    """Take a user's device list from the directory: the first is trusted on first use.

    Args:
        state: What is known of the user so far.
        reply: The directory's verified answer.

    Raises:
        IdentityChangedError: The list is under another account key than the pinned one.
        DeviceListError: It is another user's, older, or does not follow the known one.
        ProtocolError: A signature or a key in it is bad. In every case nothing changed.
    """
    offered = reply.device_list
    if offered.user != state.user:
        raise DeviceListError("the directory answered with another user's device list")
    verify_device_list(offered)
    verify_endorsements(offered)
    if state.peer.account_key not in {None, offered.account_key}:
        raise _other_account(state.user)
    if state.device_list is not None:
        _check_successor(state.device_list, offered)
    peer = state.peer._replace(
        account_key=offered.account_key,
        device_list=encode(offered),
        relation=reply.relation,
        role=reply.role,
        name=reply.name,
        offered_list=None,
    )
    changed = replace(state, peer=peer, device_list=offered)
    return changed, Changes(based_on=based_on(state), peers=(peer,))


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
    """Accept, block or unblock a user; ``None`` leaves that side as it is."""
    peer: Peer = state.peer._replace(
        accepted=state.peer.accepted if accepted is None else accepted,
        blocked=state.peer.blocked if blocked is None else blocked,
    )
    return replace(state, peer=peer), Changes(based_on=based_on(state), peers=(peer,))


def _check_successor(known: DeviceList, offered: DeviceList) -> None:
    if offered == known:
        return
    follows = offered.previous_hash == device_list_hash(known)
    if offered.version != known.version + 1 or not follows:
        raise DeviceListError(
            f"the directory gives a device list of {known.user} that does not follow the known "
            "one; it was refused"
        )


def _other_account(user: UserName) -> IdentityChangedError:
    return IdentityChangedError(
        f"the directory gives another account key for {user}; it was refused and "
        "nothing was sent; compare safety numbers before going on"
    )
