"""The settings of the embedded broker: what they are, and what fits together."""

import ipaddress
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from broker.limits import BrokerLimits
from client_sdk.wire.invitation import MAX_BROKER_URLS
from keydir.logs import LogFormat, LogLevel

MAX_PORT: Final = 65535
"""The largest TCP port; 0 asks the system for a free one."""

DEFAULT_PORT: Final = 1883

LOOPBACK: Final = "127.0.0.1"

DEFAULT_NATS_PORT: Final = 4222

BrokerKind = Literal["embedded", "mosquitto", "nats"]
Port = Annotated[int, Field(ge=0, le=MAX_PORT)]
HostName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class BrokerSettings(BaseModel):
    """Which broker, where it listens, what it allows and where it keeps waiting mail.

    Attributes:
        broker: The embedded broker of this program, or one that it configures and runs.
        database_url: Where the logins are, as for the directory: ``sqlite:///FILE`` or
            ``postgresql://user@host:port/database``; None is ``directory.db`` in ``data_dir``.
        broker_program: The program ``mosquitto`` or ``nats-server``; None looks for it.
        data_dir: The folder of keys, accounts and waiting mail; made if it is missing.
        host: The address to listen on.
        port: The TCP port of MQTT, 0 for any free one.
        ws_port: The TCP port of MQTT over WebSocket, 0 for any free one; None is off.
        ws_origins: Web pages that may use it, such as https://chat.example; empty lets all.
        tls_cert: The certificate chain in PEM; with it both ports speak TLS only.
        tls_key: Its private key in PEM, readable by the server's user alone.
        allow_plaintext: Listen beyond loopback without TLS, behind a VPN or a TLS proxy.
        public_urls: The addresses that invitations name, where they differ from host and port.
        metrics_port: The HTTP port of metrics and health, 0 for any free one; None is off.
        metrics_host: Its address; loopback only.
        log_level: The least that is logged.
        log_format: One line a record for people, or one JSON object.
        policy: For ``serve``: clinic, open or a TOML file; None keeps that of the last start.
        tls_ca: The CA of the nodes of a cluster in PEM; they show certificates to each other.
        nats_port: The TCP port of NATS for the answers to logins, on loopback.
        cluster_nodes: ``host:port`` of every node's port for the other nodes; empty is no cluster.
        limits: The bounds, see ``BrokerLimits``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_dir: Path
    broker: BrokerKind = "embedded"
    database_url: Annotated[str | None, Field(repr=False)] = None
    broker_program: Path | None = None
    host: HostName = LOOPBACK
    port: Port = DEFAULT_PORT
    ws_port: Port | None = None
    ws_origins: tuple[HostName, ...] = ()
    tls_cert: Path | None = None
    tls_key: Path | None = None
    allow_plaintext: bool = False
    public_urls: Annotated[tuple[str, ...], Field(max_length=MAX_BROKER_URLS)] = ()
    metrics_port: Port | None = None
    metrics_host: HostName = LOOPBACK
    log_level: LogLevel = "warning"
    log_format: LogFormat = "text"
    policy: str | None = None
    tls_ca: Path | None = None
    nats_port: Port = DEFAULT_NATS_PORT
    cluster_nodes: tuple[HostName, ...] = ()
    limits: BrokerLimits = Field(default_factory=BrokerLimits)

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together: give both or neither")
        if not is_loopback(self.metrics_host):
            raise ValueError(
                f"metrics_host {self.metrics_host} is beyond loopback: metrics and health have no"
                " login; fetch them on this machine or through a tunnel"
            )
        ports = [self.port, self.ws_port, self.metrics_port]
        ports += [self.nats_port] if self.broker == "nats" else []
        fixed = [port for port in ports if port]
        if len(set(fixed)) < len(fixed):
            raise ValueError("port, ws_port, metrics_port and nats_port have to differ")
        return self

    @property
    def has_tls(self) -> bool:
        """Whether the listeners speak TLS."""
        return self.tls_cert is not None


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach ``host``; a name other than localhost is beyond."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
