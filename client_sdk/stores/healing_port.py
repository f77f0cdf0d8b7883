"""What healing needs of a store; every method is one transaction."""

from collections.abc import Sequence
from typing import Protocol

from client_sdk.machine.rows import Candidate, HealingPace, OutboxEnvelope, PaceKind, ResendDue
from client_sdk.wire.ids import DeviceAddress, EnvelopeId, UserName


class HealingStore(Protocol):
    """Envelopes that did not open, resends that were asked for, and how often the store moved."""

    async def is_used(self, sender: DeviceAddress, position: bytes) -> bool:
        """Tell whether an envelope of ``sender`` was opened at this position of 8 bytes."""
        ...

    async def candidates_to_ask(self, asked_before: int) -> list[Candidate]:
        """Return the candidates not asked for since ``asked_before``, oldest first."""
        ...

    async def candidates_seen(self, before: int, limit: int) -> list[Candidate]:
        """Return up to ``limit`` candidates first seen before a time."""
        ...

    async def resends_due(self, limit: int) -> list[ResendDue]:
        """Return up to ``limit`` resends that were asked for, those of one device together."""
        ...

    async def find_envelopes(
        self, recipient: DeviceAddress, ids: Sequence[EnvelopeId]
    ) -> dict[EnvelopeId, OutboxEnvelope]:
        """Return which of these envelopes for one device have no receipt yet."""
        ...

    async def pace(self, device: DeviceAddress, kind: PaceKind) -> HealingPace | None:
        """Return how much healing there was with a device, or None for none ever."""
        ...

    async def commit_count(self) -> int:
        """Return how often a user's rows were committed; only a rollback makes it smaller."""
        ...

    async def users(self) -> list[UserName]:
        """Return every user whose rows are kept, by name."""
        ...
