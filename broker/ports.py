"""What the broker needs from whoever keeps the credentials."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Credentials(Protocol):
    """Who may log in; both methods are called on the event loop and must answer at once."""

    def secret_hash(self, login: str) -> bytes | None:
        """Return the 32-byte SHA-256 of the secret of ``login``.

        None stands for every login that may not connect: unknown, revoked or expired.
        """
        ...

    def revision(self) -> int:
        """Return a number that differs after any credential changed, also by another process."""
        ...
