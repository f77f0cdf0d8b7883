"""Credentials in memory: the smallest thing that satisfies the broker's port."""

import hashlib
from collections.abc import Mapping


class MemoryCredentials:
    """Logins and the hashes of their secrets, changed by the test."""

    def __init__(self, secrets: Mapping[str, str] | None = None) -> None:
        self._hashes: dict[str, bytes] = {}
        self._revision = 0
        for login, secret in (secrets or {}).items():
            self.put(login, secret)

    def put(self, login: str, secret: str) -> None:
        self._hashes[login] = hashlib.sha256(secret.encode()).digest()
        self._revision += 1

    def revoke(self, login: str) -> None:
        del self._hashes[login]
        self._revision += 1

    def secret_hash(self, login: str) -> bytes | None:
        return self._hashes.get(login)

    def revision(self) -> int:
        return self._revision
