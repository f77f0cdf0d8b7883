"""What an engine counts while it works: plain numbers that whoever watches reads."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Statistics:
    """Totals since the start; ``refused`` and ``dropped`` are by reason, a fixed set of words."""

    connections: int = 0
    """Logins that were accepted."""
    messages_in: int = 0
    """PUBLISH packets that were accepted."""
    messages_out: int = 0
    """PUBLISH packets that were written to clients."""
    bytes_in: int = 0
    bytes_out: int = 0
    commits: int = 0
    """Transactions of waiting mail."""
    commit_seconds: float = 0.0
    """Time spent in them."""
    commit_failures: int = 0
    expired: int = 0
    """Waiting messages dropped by age."""
    refused: dict[str, int] = field(default_factory=dict)
    """Refused logins, publications and subscriptions."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Messages not delivered to a slow client, and connections that were ended."""

    def refuse(self, reason: str) -> None:
        """Count one refusal."""
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def drop(self, reason: str) -> None:
        """Count one message or connection that was let go."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1
