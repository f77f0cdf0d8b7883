"""What one decision changes: rows to write in one transaction, all of them or none."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, Final, NamedTuple

from client_sdk.machine.rows import (
    AcceptedHandshake,
    Candidate,
    CatchUp,
    HealingPace,
    Late,
    Message,
    OpenedEnvelope,
    OutboxEnvelope,
    Peer,
    Planned,
    PrekeyKind,
    PrekeyRow,
    ReceiptDue,
    Receipted,
    ResendDue,
    SessionRow,
    StateChange,
    StreamPosition,
)
from client_sdk.wire.ids import DeviceAddress, EnvelopeId, UserName


class UserRevision(NamedTuple):
    """The revision of a user's rows that a decision was based on; 0 where there are none."""

    user: UserName
    revision: int


@dataclass(frozen=True, slots=True)
class Changes:
    """The rows of one step. ``based_on`` refuses the whole step where a user's rows moved on."""

    based_on: tuple[UserRevision, ...] = ()
    device: bytes | None = field(default=None, repr=False)
    peers: tuple[Peer, ...] = ()
    sessions: tuple[SessionRow, ...] = ()
    streams: tuple[StreamPosition, ...] = ()
    messages: tuple[Message, ...] = ()
    planned: tuple[Planned, ...] = ()
    states: tuple[StateChange, ...] = ()
    envelopes: tuple[OutboxEnvelope, ...] = ()
    envelopes_gone: tuple[EnvelopeId, ...] = ()
    opened: tuple[OpenedEnvelope, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    candidates_gone: tuple[tuple[DeviceAddress, EnvelopeId], ...] = ()
    ask_again: tuple[DeviceAddress, ...] = ()
    resends_due: tuple[ResendDue, ...] = ()
    resends_done: tuple[tuple[DeviceAddress, EnvelopeId], ...] = ()
    paces: tuple[HealingPace, ...] = ()
    late: tuple[Late, ...] = ()
    late_done: tuple[Late, ...] = ()
    catch_up: tuple[CatchUp, ...] = ()
    devices_gone: tuple[DeviceAddress, ...] = ()
    """Devices that left their user's list: sessions, streams and envelopes go with them."""
    receipts_due: tuple[ReceiptDue, ...] = ()
    receipts_sent: tuple[ReceiptDue, ...] = ()
    receipted: tuple[Receipted, ...] = ()
    handshakes: tuple[AcceptedHandshake, ...] = ()
    prekeys: tuple[PrekeyRow, ...] = ()
    prekeys_uploaded: tuple[tuple[PrekeyKind, int], ...] = ()
    prekeys_spent: tuple[tuple[PrekeyKind, int], ...] = ()


_rows_of: Final[Callable[[Changes], tuple[Any, ...]]] = attrgetter(
    *(one.name for one in fields(Changes)[2:])
)
"""All that steps add up: every field but the first two, in their order."""


def combine(*steps: Changes) -> Changes:
    """Return the changes of one or more steps that were decided one on top of the other.

    Rows of a later step follow those of an earlier one, so that where both write one row the
    later stands; the revision of a user is that of the first step which names it.
    """
    rows = [sum(column, ()) for column in zip(*map(_rows_of, steps), strict=True)]
    devices = [one.device for one in steps if one.device is not None]
    based_on: dict[UserName, UserRevision] = {}
    for step in steps:
        for entry in step.based_on:
            based_on.setdefault(entry.user, entry)
    return Changes(tuple(based_on.values()), devices[-1] if devices else None, *rows)
