"""What is known of one user while a step is decided."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from client_sdk.core.pqxdh import RemoteDevice
from client_sdk.core.session_record import SessionRecord, expire
from client_sdk.core.state_format import serialize_record
from client_sdk.machine.changes import Changes, UserRevision
from client_sdk.machine.rows import Peer, SessionRow, StreamPosition
from client_sdk.wire.bundle import DEVICE_LIST, DeviceList, addresses, device_entry
from client_sdk.wire.directory import Relation
from client_sdk.wire.ids import DeviceAddress, StreamId, UserName, split_address, user_of

StreamKey = tuple[DeviceAddress, StreamId]


@dataclass(frozen=True, slots=True)
class PeerState:
    """One user's rows, parsed; a step returns a new one beside its Changes."""

    revision: int
    peer: Peer
    device_list: DeviceList | None
    sessions: Mapping[DeviceAddress, SessionRecord] = field(repr=False)
    streams: Mapping[StreamKey, StreamPosition]
    local: DeviceAddress | None = None
    """This device; where it is one of this user's, the state is of one's own other devices."""
    starts: Mapping[DeviceAddress, int] = field(default_factory=dict)
    """The first number of this device's stream that each device was sent."""
    late: frozenset[DeviceAddress] = frozenset()
    """Devices that still wait for earlier messages: later ones go behind those."""

    @property
    def user(self) -> UserName:
        """The user."""
        return self.peer.user

    @property
    def trusted(self) -> bool:
        """Whether this user's messages are handed over and receipted without asking."""
        return self.peer.relation is Relation.CONTACT or self.peer.accepted

    @property
    def is_held(self) -> bool:
        """Whether nothing may be sent to this user before ``trust`` or ``verify``."""
        return self.peer.offered_list is not None

    @property
    def may_be_answered(self) -> bool:
        """Whether anything may be sealed for this user that the app did not ask for."""
        stopped = self.peer.blocked or self.is_held or self.peer.equivocation
        return self.trusted and not stopped

    @property
    def devices(self) -> tuple[DeviceAddress, ...]:
        """The active devices of the verified list but this one; none where no list is known."""
        listed = () if self.device_list is None else addresses(self.device_list)
        return tuple(one for one in listed if one != self.local) if self.is_own else listed

    @property
    def awaited(self) -> tuple[DeviceAddress, ...]:
        """The devices that are waited for: neither suspended nor silent for 30 days."""
        absent = set(self.peer.absent)
        return tuple(one for one in self.devices if split_address(one)[1] not in absent)

    @property
    def is_own(self) -> bool:
        """Whether this is the user whose device this is."""
        return self.local is not None and user_of(self.local) == self.user


def parse_device_list(peer: Peer) -> DeviceList | None:
    """Return a peer's stored device list."""
    return None if peer.device_list is None else DEVICE_LIST.decode(peer.device_list)


def based_on(state: PeerState) -> tuple[UserRevision, ...]:
    """Return the revision that a step on ``state`` has to find again."""
    return (UserRevision(state.user, state.revision),)


def session_rows(state: PeerState, devices: tuple[DeviceAddress, ...]) -> tuple[SessionRow, ...]:
    """Return the rows of the sessions with ``devices``, to write."""
    return tuple(
        SessionRow(
            device,
            state.user,
            serialize_record(state.sessions[device]),
            state.starts.get(device, 0),
        )
        for device in devices
        if device in state.sessions
    )


def remote_device(state: PeerState, device: DeviceAddress) -> RemoteDevice | None:
    """Return the keys of a listed device, or None where it is not in the verified list."""
    if state.device_list is None:
        return None
    entry = device_entry(state.device_list, split_address(device)[1])
    if entry is None:
        return None
    return RemoteDevice(
        address=device,
        account_key=state.device_list.account_key,
        signing_key=entry.signing_key,
        identity_key=entry.identity_key,
        list_version=state.device_list.version,
    )


def written(state: PeerState, changes: Changes) -> PeerState:
    """Return ``state`` as it stands after ``changes`` were committed."""
    moved = any(entry.user == state.user for entry in changes.based_on)
    return replace(state, revision=state.revision + 1) if moved else state


def expired(state: PeerState, now: int) -> PeerState:
    """Return ``state`` less the archived sessions whose time is over; ``now`` in ms since 1970."""
    kept = {device: expire(record, now) for device, record in state.sessions.items()}
    return replace(state, sessions=kept)
