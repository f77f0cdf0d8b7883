"""What a broker needs to be told when a login is made or taken."""

from collections.abc import Mapping
from typing import Protocol

from keydir.stores.credentials import StoredLogin


class Accounts(Protocol):
    """The logins of one running broker."""

    async def put(self, login: str, stored: StoredLogin) -> None:
        """Admit a login from now on; one with another secret than before is disconnected."""
        ...

    async def revoke(self, login: str) -> None:
        """Refuse a login from now on and drop its connection; others stay connected."""
        ...

    async def settle(self) -> None:
        """Return when the broker keeps to all that was said before."""
        ...


class StoredLogins(Protocol):
    """The directory's table of logins; see ``keydir.stores.credentials``."""

    def logins(self) -> Mapping[str, StoredLogin]:
        """Return every login that has not expired."""
        ...

    def secret_hash(self, login: str) -> bytes | None:
        """Return the SHA-256 of a login's password; None: no such login, or it has expired."""
        ...

    def revision(self) -> int:
        """Return a number that differs after any login changed, also by another process."""
        ...
