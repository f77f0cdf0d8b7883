"""Mosquitto 2: a password file, patterns for devices, an entry for each enrolment, SIGHUP."""

import base64
import getpass
import hashlib
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final

from client_sdk.wire import topics
from client_sdk.wire.ids import DIRECTORY_LOGIN, ENROLL_LOGIN_PREFIX, InvitationId
from tests.brokers.contract.under_test import (
    BrokerUnderTest,
    Limits,
    NoWebSocketError,
    Options,
    free_port,
    until_open,
)
from tests.e2e.programs import Program

ITERATIONS: Final = 101
"""What mosquitto_passwd of 2.0 writes: enough for secrets of 256 random bits."""

SAVED_AFTER: Final = 100
"""Changes from one writing of its database to the next; those since are lost by kill -9."""

QUEUE: Final = 100_000
"""Waiting messages that one subscription is handed; the default of 1,000 drops the others, and 0
(no bound) makes 2.0.11 disconnect whoever publishes what is not allowed."""

CONFIG: Final = """\
per_listener_settings false
allow_anonymous false
user {user}
password_file {folder}/passwords
acl_file {folder}/acl
persistence true
persistence_location {folder}/
autosave_on_changes true
autosave_interval {saved_after}
max_queued_messages {queue}
max_inflight_messages 1000
set_tcp_nodelay true
listener {port} 127.0.0.1
use_username_as_clientid true
"""

ACL: Final = """\
pattern write v1/u/+/in/%u/+
pattern write v1/kd/req/%u/+
pattern write v1/u/%u/#
pattern read v1/u/%u/#
user _kd
topic readwrite v1/#
"""


class Mosquitto(BrokerUnderTest):
    """One server; ``default_queue`` leaves the bound of waiting messages as shipped."""

    name: ClassVar[str] = "mosquitto"
    limits: ClassVar[Limits] = Limits(
        refuses_filters=False, foreign_client_id="renamed", durable=False, at_risk=SAVED_AFTER
    )

    def __init__(
        self,
        folder: Path,
        logins: Mapping[str, str],
        options: Options,
        program: str,
        *,
        default_queue: bool = False,
    ) -> None:
        super().__init__(folder, logins, options)
        if options.websocket:
            raise NoWebSocketError(
                "Mosquitto 2.0 of Debian listens on all interfaces for WebSocket whatever address "
                "it is given, and hands over no message above some 64 KB; use the embedded broker "
                "or nats-server for browsers"
            )
        self.program = program
        self._port = free_port()
        self._hashed: dict[str, str] = {}
        self._program: Program | None = None
        self._default_queue = default_queue
        self._write_config()
        self.write_logins()

    @property
    def ports(self) -> tuple[int, ...]:
        return (self._port,)

    @property
    def ws_url(self) -> str:
        raise NoWebSocketError("it has none that is to be used")

    @property
    def config(self) -> Path:
        return self.folder / "mosquitto.conf"

    def start(self) -> None:
        self._program = Program([self.program, "-c", str(self.config)])
        until_open(self._port, self._program)

    def stop(self) -> None:
        if self._program is not None:
            self._program.end()
        self._program = None

    def kill(self) -> None:
        if self._program is not None:
            self._program.kill()
        self._program = None

    def write_logins(self) -> None:
        """Write password and ACL file."""
        self._hashed = {
            login: self._hashed.get(login) or hashed(secret)
            for login, secret in self.logins.items()
        }
        lines = [f"{login}:{self._hashed[login]}\n" for login in self.logins]
        self._replace("passwords", "".join(lines))
        self._replace("acl", ACL + "".join(_enrolment(login) for login in self.logins))

    def wipe(self) -> None:
        (self.folder / "mosquitto.db").unlink(missing_ok=True)

    def _take_logins(self) -> None:
        self.write_logins()
        if self._program is not None:
            self._program.send_signal(signal.SIGHUP)

    def _replace(self, name: str, text: str) -> None:
        written = self.folder / f"{name}.new"
        written.write_text(text)
        written.chmod(0o600)
        written.replace(self.folder / name)

    def _write_config(self) -> None:
        text = CONFIG.format(
            user=getpass.getuser(),
            folder=self.folder,
            port=self._port,
            saved_after=SAVED_AFTER,
            queue=1000 if self._default_queue else QUEUE,
        )
        if self._default_queue:
            text = text.replace("max_inflight_messages 1000\n", "")
        if self.options.tls is not None:
            tls = self.options.tls
            text += f"certfile {tls.certificate}\nkeyfile {tls.key}\ntls_version tlsv1.2\n"
        self.config.write_text(text)


def hashed(secret: str) -> str:
    """Return a secret as a line of the password file has it."""
    salt = os.urandom(12)
    digest = hashlib.pbkdf2_hmac("sha512", secret.encode(), salt, ITERATIONS, 64)
    parts = (base64.b64encode(one).decode() for one in (salt, digest))
    return f"$7${ITERATIONS}${'$'.join(parts)}"


def _enrolment(login: str) -> str:
    if login == DIRECTORY_LOGIN or not login.startswith(ENROLL_LOGIN_PREFIX):
        return ""
    invitation = InvitationId(login.removeprefix(ENROLL_LOGIN_PREFIX))
    return (
        f"user {login}\n"
        f"topic write {topics.enroll(invitation)}\n"
        f"topic read {topics.enrolled(invitation)}\n"
    )
