"""The login of one connection: name, secret and client id, compared in constant time."""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final, NamedTuple

from amqtt.plugins.base import BaseAuthPlugin
from amqtt.session import Session

from broker import acl
from broker.ports import Credentials

IDENTITY: Final = "ratchetmq.identity"
"""The session attribute that holds the ``Identity``: the only thing access control uses."""

_NOBODY: Final = bytes(hashlib.sha256().digest_size)


class Identity(NamedTuple):
    """Who authenticated, and with which secret, so that a changed secret ends the connection."""

    login: str
    secret_hash: bytes

    def __repr__(self) -> str:
        """Return the login alone."""
        return f"Identity({self.login!r})"


def verify(credentials: Credentials, login: str, password: str) -> Identity | None:
    """Return who ``login`` is when ``password`` is its secret, else None.

    Unknown logins take the same path as known ones: one hash and one comparison.
    """
    offered = hashlib.sha256(password.encode()).digest()
    known = credentials.secret_hash(login) if acl.is_login(login) else None
    equal = hmac.compare_digest(offered, _NOBODY if known is None else known)
    return Identity(login, known) if equal and known is not None else None


class CredentialsPlugin(BaseAuthPlugin):
    """Admits one clean session of a known login whose client id is that login."""

    @dataclass
    class Config:
        """What the engine hands to the plugin."""

        credentials: Credentials

    config: Config

    async def authenticate(self, *, session: Session) -> bool:
        """Tell whether the session may begin, and note in it who it belongs to."""
        login, password = session.username or "", session.password or ""
        session.password = None
        identity = verify(self.config.credentials, login, password)
        if identity is None or session.client_id != login or not session.clean_session:
            return False
        session.attributes[IDENTITY] = identity
        return True
