"""One user's envelopes of one batch while they are decided."""

from dataclasses import dataclass, field

from client_sdk.machine.changes import Changes
from client_sdk.machine.events import Event
from client_sdk.machine.received import Arrived, Opened
from client_sdk.machine.rows import PrekeyKind
from client_sdk.machine.state import PeerState
from client_sdk.wire.ids import DeviceAddress
from client_sdk.wire.topics import InboxTopic


@dataclass(slots=True)
class Step:
    """What is decided so far; only ``state`` and ``changes`` are committed."""

    state: PeerState
    changes: Changes
    events: list[Event] = field(default_factory=list)
    clear: list[InboxTopic] = field(default_factory=list)
    handshakes: set[bytes] = field(default_factory=set)
    prekeys_spent: set[tuple[PrekeyKind, int]] = field(default_factory=set)
    waiting: list[Arrived] = field(default_factory=list)
    lost: list[Arrived] = field(default_factory=list)
    progressed: set[DeviceAddress] = field(default_factory=set)
    new: int = 0
    opened: list[Opened] = field(default_factory=list)
    key_wishes: set[DeviceAddress] = field(default_factory=set)
