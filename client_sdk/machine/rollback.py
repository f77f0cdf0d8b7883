"""Is this store older than it was? And what is done about it before anything is sent."""

from dataclasses import replace

from client_sdk.core.session_record import archive_current
from client_sdk.machine.changes import Changes
from client_sdk.machine.device import DeviceRecord
from client_sdk.machine.state import PeerState, based_on
from client_sdk.wire.healing import StoreCounters
from client_sdk.wire.ids import StreamId


def is_rolled_back(mine: StoreCounters, before: StoreCounters | None) -> bool:
    """Tell whether the store was reported newer than it is, or by another copy of it.

    Args:
        mine: The counters of this opening.
        before: What the directory had before they were reported; None for nothing.
    """
    if before is None or before.open_id == mine.open_id:
        return False
    return before.opens >= mine.opens or before.commits > mine.commits


def plan_fresh_start(state: PeerState, now: int) -> tuple[PeerState, Changes]:
    """Put all sessions with a user away: they may have gone on in another copy of this store.

    Numbers of messages begin again, as those of a new stream do. The caller adds the rows of
    all sessions. A second time changes nothing more.

    Args:
        state: The user.
        now: ms since 1970.
    """
    sessions = {device: archive_current(one, now) for device, one in state.sessions.items()}
    peer = state.peer._replace(next_sequence=1)
    changed = replace(state, peer=peer, sessions=sessions, starts={})
    return changed, Changes(based_on=based_on(state), peers=(peer,))


def with_new_stream(record: DeviceRecord, stream_id: StreamId) -> DeviceRecord:
    """Return the device's record with a new stream: its numbers were used by another copy."""
    return record._replace(stream_id=stream_id)
