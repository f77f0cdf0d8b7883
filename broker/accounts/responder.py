"""The answers to logins of NATS: who may connect, and what to write and read; no I/O."""

import hashlib
import hmac
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from broker.accounts.nkeys import SERVER_PREFIX, Signer, verified
from broker.accounts.ports import StoredLogins
from broker.generate.nats import MAIL_ACCOUNT, permissions
from broker.generate.rights import rights_of
from client_sdk.wire.errors import MalformedError, OperationalError

REQUEST_AUDIENCE: Final = "nats-authorization-request"
MQTT_KIND: Final = "mqtt"
REFUSED: Final = "not authorised"

RIGHTS_SECONDS: Final = 12 * 3600
"""A connection ends after this long even if nobody was there to end it; up to a quarter more."""

_NOBODY: Final = bytes(hashlib.sha256().digest_size)


@dataclass(frozen=True, slots=True)
class _Asked:
    server: str
    key: str
    login: str
    password: str
    client_id: str
    is_mqtt: bool


class Responder:
    """Answers one login after the other."""

    def __init__(self, stored: StoredLogins, signer: Signer, clock: Callable[[], float]) -> None:
        """Judge by the directory's table.

        Args:
            stored: Who may log in.
            signer: Signs what they may do.
            clock: Seconds since 1970.
        """
        self._stored = stored
        self._signer = signer
        self._clock = clock
        self.admitted: dict[str, bytes] = {}
        """Of each login that was let in, the SHA-256 of the secret it came with."""

    def answer(self, request: bytes) -> bytes:
        """Return the signed answer to one login.

        Raises:
            MalformedError: It is no login of a server; nothing is answered.
        """
        asked = _read(request)
        verdict: dict[str, object] = {"type": "authorization_response", "version": 2}
        rights = self._rights(asked)
        if rights is None:
            verdict["error"] = REFUSED
        else:
            verdict["jwt"] = rights
        claims = {"aud": asked.server, "sub": asked.key, "nats": verdict}
        return self._signer.sign(claims, int(self._clock())).encode()

    def _rights(self, asked: _Asked) -> str | None:
        rights = rights_of(asked.login)
        if rights is None or not asked.is_mqtt or asked.client_id != asked.login:
            return None
        if not self._knows(asked.login, asked.password):
            return None
        now = int(self._clock())
        spread = random.random() / 4  # noqa: S311 - spreads reconnections, keeps no secret
        claims = {
            "aud": MAIL_ACCOUNT,
            "sub": asked.key,
            "name": asked.login,
            "exp": now + int(RIGHTS_SECONDS * (1 + spread)),
            "nats": {
                **permissions(rights),
                "subs": -1,
                "data": -1,
                "payload": -1,
                "allowed_connection_types": ["MQTT", "MQTT_WS"],
                "type": "user",
                "version": 2,
            },
        }
        return self._signer.sign(claims, now)

    def _knows(self, login: str, password: str) -> bool:
        try:
            known = self._stored.secret_hash(login)
        except OperationalError:
            return False  # the device tries again
        offered = hashlib.sha256(password.encode()).digest()
        if not hmac.compare_digest(offered, known or _NOBODY) or known is None:
            return False
        self.admitted[login] = known
        return True


def _read(request: bytes) -> _Asked:
    claims = verified(request, SERVER_PREFIX)
    try:
        nats = _table(claims["nats"])
        client, options = _table(nats["client_info"]), _table(nats["connect_opts"])
        asked = _Asked(
            server=str(_table(nats["server_id"])["id"]),
            key=str(nats["user_nkey"]),
            login=str(options.get("user", "")),
            password=str(options.get("pass", "")),
            client_id=str(client.get("mqtt_id", "")),
            is_mqtt=client.get("type") == MQTT_KIND,
        )
    except KeyError as error:
        raise MalformedError("a login without all that it needs") from error
    if claims.get("aud") != REQUEST_AUDIENCE or asked.server != claims["iss"]:
        raise MalformedError("a login of another server than the one that asks")
    return asked


def _table(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise MalformedError("a login of another form")
    return value
