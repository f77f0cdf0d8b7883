"""A broker as a real process: what every row of the contract suite may do with it."""

import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Self

from broker.certs import Certificates
from client_sdk.wire.ids import DIRECTORY_LOGIN
from client_sdk.wire.verifier import stored_credential
from keydir.config import DirectorySettings
from keydir.ports import Transaction
from keydir.prepare import prepare_directory, transact
from tests.brokers.raw_client import connect_packet
from tests.e2e.clinic import until
from tests.e2e.programs import Program

LOGIN_REFUSED = (4, 5)
"""MQTT 3.1.1: bad user name or password, not authorised."""

PROBE_SECONDS = 5.0
START_SECONDS = 60.0


class NoWebSocketError(Exception):
    """This broker's WebSocket is not to be used; nothing was started."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a broker documents that it does otherwise than the embedded one; rows assert it.

    Attributes:
        in_order: Waiting messages are handed over in the order they were published in.
        whole: One SUBSCRIBE hands over all that waits, also right after a restart.
        refuses_filters: A forbidden SUBSCRIBE is answered 0x80; else it is granted, and empty.
        foreign_client_id: What a login under the client id of another one comes to: it is
            refused, or it is given its own id.
        durable: What was acknowledged survives kill -9.
        at_risk: Where not: how many of the last acknowledged messages may be lost.
    """

    in_order: bool = True
    whole: bool = True
    refuses_filters: bool = True
    foreign_client_id: Literal["refused", "renamed"] = "refused"
    durable: bool = True
    at_risk: int = 0


@dataclass(frozen=True, slots=True)
class Options:
    """How a broker listens."""

    tls: Certificates | None = None
    websocket: bool = False


class BrokerUnderTest(ABC):
    """One broker, or one cluster, with its logins; on the loopback interface.

    ``logins`` are device logins with their secrets, and the directory's. They are those of the
    database in ``data_dir``, so that ``ratchetmq keydir --data`` can be started beside it.
    """

    name: ClassVar[str]
    limits: ClassVar[Limits]

    def __init__(self, folder: Path, logins: Mapping[str, str], options: Options) -> None:
        self.folder = folder
        self.data_dir = folder / "server"
        self.options = options
        self._directory = DirectorySettings(data_dir=self.data_dir)
        password = prepare_directory(self._directory).login.password
        self.logins = {**logins, DIRECTORY_LOGIN: password}
        self._write(logins)

    @property
    @abstractmethod
    def ports(self) -> tuple[int, ...]:
        """Of MQTT: one of each node that runs."""

    @property
    @abstractmethod
    def ws_url(self) -> str:
        """The address of MQTT over WebSocket; NoWebSocketError where there is none."""

    @abstractmethod
    def start(self) -> None:
        """Run it with what is on disk; return when it answers."""

    @abstractmethod
    def stop(self) -> None:
        """End it by SIGTERM."""

    @abstractmethod
    def kill(self) -> None:
        """End it by SIGKILL."""

    @abstractmethod
    def wipe(self) -> None:
        """Delete what waits in it while it is stopped, as a lost disk does."""

    @property
    def port(self) -> int:
        return self.ports[0]

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(self.url(port) for port in self.ports)

    def url(self, port: int) -> str:
        """Return the address of one of its ports."""
        start = "mqtt://127.0.0.1" if self.options.tls is None else "mqtts://localhost"
        return f"{start}:{port}"

    def restart(self) -> None:
        self.stop()
        self.start()

    def add(self, login: str, secret: str) -> None:
        """Let a login in that was not known before; returns when it is."""
        self.logins[login] = secret
        self.put(login, secret)
        self.until_let_in(login, self.port)

    def put(self, login: str, secret: str) -> None:
        """Write a login into the directory's table, whatever it is called."""
        self._write({login: secret})

    def until_let_in(self, login: str, port: int) -> None:
        """Return as soon as a login works."""
        secret = self.logins[login]
        until(
            lambda: self.answers(login, secret, port=port) == 0,
            f"{login} is let in on port {port}",
            START_SECONDS,
        )

    def revoke(self, login: str) -> None:
        """Take a login away; the broker drops its connection."""
        del self.logins[login]
        transact(self._directory.database, lambda one: one.logins.remove(login))

    def answers(self, login: str, secret: str, *, port: int | None = None) -> int | None:
        """Return the code that a login gets now; None where the connection is closed instead."""
        return self.answer_to(connect_packet(login, login, secret), port or self.port)

    def answer_to(self, packet: bytes, port: int | None = None) -> int | None:
        """Return the CONNACK code to the first packet of a connection, None at its end."""
        try:
            with self._connection(port or self.port) as connection:
                connection.sendall(packet)
                answer = connection.recv(4)
        except OSError:
            return None
        return answer[3] if len(answer) == 4 and answer[0] == 0x20 else None

    def context(self) -> ssl.SSLContext | None:
        """What a client trusts; None without TLS."""
        return None if self.options.tls is None else trusting(self.options.tls)

    def _write(self, logins: Mapping[str, str]) -> None:
        def step(transaction: Transaction) -> None:
            for login, secret in logins.items():
                transaction.logins.put(login, stored_credential(secret), None)

        transact(self._directory.database, step)

    def _connection(self, port: int) -> socket.socket:
        connected = socket.create_connection(("127.0.0.1", port), PROBE_SECONDS)
        context = self.context()
        if context is None:
            return connected
        return context.wrap_socket(connected, server_hostname="localhost")

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """End all that belongs to it."""
        self.kill()

    def __exit__(self, *_: object) -> None:
        self.close()


def trusting(certificates: Certificates) -> ssl.SSLContext:
    """Return a client's context that trusts the CA of these certificates only."""
    return ssl.create_default_context(cafile=str(certificates.ca))


def until_open(port: int, program: Program) -> None:
    """Return when a program listens; fail with what it said where it ended."""

    def is_open() -> bool:
        assert program.running, f"it did not start: {program.errors}"
        try:
            socket.create_connection(("127.0.0.1", port), PROBE_SECONDS).close()
        except OSError:
            return False
        return True

    until(is_open, f"port {port} is open", START_SECONDS)
