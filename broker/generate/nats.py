"""nats-server with MQTT and JetStream: its configuration as text; pure."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from broker.generate.rights import Rights
from broker.settings import LOOPBACK, BrokerSettings

SECRETS_FILE: Final = "secrets.conf"
MAIL_ACCOUNT: Final = "MAIL"
CALLOUT_USER: Final = "accounts"
SYSTEM_USER: Final = "system"
READER_USER: Final = "readers"

RETAINED_STREAM: Final = "$MQTT_rmsgs"
"""Where nats-server keeps retained messages: the mail that waits."""

MAX_ACK_PENDING: Final = 10_000
"""Deliveries at QoS 1 that one subscription has not acknowledged."""

ROUTE_TLS_SECONDS: Final = 5
"""How long nodes take to agree on TLS at most; 2 by default, little for a busy machine."""

MAX_COPIES: Final = 3
"""Of each message: one lost node leaves two that agree."""

LOGIN_SECONDS: Final = 3
"""How long a login waits for `ratchetmq accounts` to answer."""

_CONFIG: Final = """\
# nats-server 2.12.6 or newer for RatchetMQ, made by `ratchetmq config nats`; made again, it is
# overwritten.
#
#     nats-server -c {folder}/{name}
#     ratchetmq accounts nats --data {data} --out {folder}
#     ratchetmq keydir --data {data} --broker-url {url}
#
# Start all three as the user who owns these files: without `ratchetmq accounts` nobody can log in.
# On one machine `ratchetmq serve --broker nats` does all of it in one command.

# Passwords that only these programs know, and the key that signs the rights of a login.
include "secrets.conf"

server_name: "{server}"

# --- For `ratchetmq accounts` on this machine; devices never come here.
listen: "{loopback}:{nats_port}"

# --- Waiting mail. Every message is on the disk before it is acknowledged; without
# `sync_interval: always` a power cut loses up to two minutes of acknowledged mail.
jetstream {{
  store_dir: "{store}"
  sync_interval: always
  max_file_store: {waiting}
}}

# --- Limits.
max_payload: {payload}
max_connections: {connections}
ping_interval: "30s"
write_deadline: "10s"

# --- Where devices connect.
mqtt {{
  listen: "{host}:{port}"
  max_ack_pending: {pending}
{replicas}{tls}}}
"""

_WEBSOCKET: Final = """\
websocket {{
  listen: "{host}:{port}"
{security}{origins}}}
"""

_ACCOUNTS: Final = """\

# --- Logins. Every login of a device is asked of `ratchetmq accounts`, which answers with a signed
# list of the topics that it may write and read; the client id has to be the login.
accounts {{
  LOGINS: {{ users: [
    {{ user: "{callout}", password: $callout_password, allowed_connection_types: ["STANDARD"] }}
  ] }}
  {mail}: {{ jetstream: enabled, users: [
    # Makes what a node learns of waiting mail from again when another node is lost; see ADR 0087.
    {{ user: "{readers}", password: $system_password, allowed_connection_types: ["STANDARD"]
      permissions: {{
        publish: [
          "$JS.API.CONSUMER.LIST.{stream}"
          "$JS.API.CONSUMER.CREATE.{stream}.>"
          "$JS.API.CONSUMER.DELETE.{stream}.*"
        ]
        subscribe: ["_INBOX.>"] }} }}
  ] }}
  SYSTEM: {{ users: [
    {{ user: "{system}", password: $system_password, allowed_connection_types: ["STANDARD"] }}
  ] }}
}}
system_account: SYSTEM
authorization {{
  timeout: {seconds}
  auth_callout {{
    issuer: $issuer
    account: LOGINS
    auth_users: ["{callout}", "{system}", "{readers}"]
  }}
}}
"""

_CLUSTER: Final = """\

# --- The nodes, this one among them; all of them have the same secrets.conf. {copies} of them keep
# each message.
cluster {{
  name: "ratchetmq"
  listen: "{listen}"
  authorization {{ user: "route", password: $route_password, timeout: 3 }}
  # Clients are told no addresses: devices know them from their invitations.
  no_advertise: true
  routes: [
{routes}
  ]
{tls}}}
"""

_SECRETS: Final = """\
# Read by nats-server and `ratchetmq accounts` alone; mode 0600.
issuer: "{issuer}"
callout_password: "{callout}"
system_password: "{system}"
{routes}"""


@dataclass(frozen=True, slots=True)
class NatsSecrets:
    """What the nodes of one deployment and `ratchetmq accounts` know.

    Attributes:
        issuer: The public key of the signer of rights, as NATS writes it.
        callout: The password of the user who answers logins.
        system: That of the user who ends connections.
        route: That of the nodes among each other.
    """

    issuer: str
    callout: str = field(repr=False)
    system: str = field(repr=False)
    route: str = field(repr=False)


def config_file(settings: BrokerSettings, node: int = 0) -> str:
    """Return the name of one node's configuration; nodes count from 0."""
    return f"nats-{node + 1}.conf" if settings.cluster_nodes else "nats.conf"


def configuration(settings: BrokerSettings, folder: Path, node: int = 0) -> str:
    """Return the configuration of one node.

    Args:
        settings: Checked by ``require_deployable``.
        folder: The absolute folder of all generated files.
        node: Which of ``settings.cluster_nodes`` it is for.
    """
    copies = copies_of(settings)
    text = _CONFIG.format(
        folder=folder,
        name=config_file(settings, node),
        data=settings.data_dir,
        url=" --broker-url ".join(settings.public_urls)
        or f"mqtt{'s' if settings.has_tls else ''}://…:{settings.port}",
        server=f"ratchetmq-{node + 1}",
        loopback=LOOPBACK,
        nats_port=settings.nats_port,
        store=store_folder(settings, node),
        waiting=settings.limits.max_waiting_bytes,
        payload=settings.limits.max_packet_bytes,
        connections=settings.limits.max_connections,
        host=_bracketed(settings.host),
        port=settings.port,
        pending=MAX_ACK_PENDING,
        replicas=f"  stream_replicas: {copies}\n" if settings.cluster_nodes else "",
        tls=_tls(settings),
    )
    if settings.ws_port is not None:
        text += "\n" + _websocket(settings)
    text += _ACCOUNTS.format(
        callout=CALLOUT_USER,
        mail=MAIL_ACCOUNT,
        readers=READER_USER,
        stream=RETAINED_STREAM,
        system=SYSTEM_USER,
        seconds=LOGIN_SECONDS,
    )
    return text + (_cluster(settings, node) if settings.cluster_nodes else "")


def copies_of(settings: BrokerSettings) -> int:
    """Return how many nodes keep each message."""
    return min(max(len(settings.cluster_nodes), 1), MAX_COPIES)


def store_folder(settings: BrokerSettings, node: int = 0) -> Path:
    """Return where one node keeps waiting mail."""
    name = f"store-{node + 1}" if settings.cluster_nodes else "store"
    return settings.data_dir / "nats" / name


def secrets_text(secrets: NatsSecrets, settings: BrokerSettings) -> str:
    """Return ``secrets.conf``: variables of the configuration."""
    routes = f'route_password: "{secrets.route}"\n' if settings.cluster_nodes else ""
    routes += "".join(
        f'route_{number}: "nats-route://route:{secrets.route}@{node}"\n'
        for number, node in enumerate(settings.cluster_nodes, 1)
    )
    return _SECRETS.format(
        issuer=secrets.issuer,
        callout=secrets.callout,
        system=secrets.system,
        routes=routes,
    )


def subjects(topics: tuple[str, ...], *, subscribing: bool) -> list[str]:
    """Return topic filters as NATS subjects.

    Args:
        topics: Filters of MQTT.
        subscribing: A filter that ends in ``#`` is also a subscription to its parent.
    """
    found: list[str] = []
    for topic in topics:
        levels = ["*" if level == "+" else level for level in topic.split("/")]
        if levels[-1] == "#":
            found.append(".".join([*levels[:-1], ">"]))
            found += [".".join(levels[:-1])] if subscribing else []
        else:
            found.append(".".join(levels))
    return found


def permissions(rights: Rights) -> dict[str, object]:
    """Return the claims of a login about what it may publish and subscribe to."""
    return {
        "pub": {"allow": subjects(rights.writes, subscribing=False)},
        "sub": {"allow": subjects(rights.reads, subscribing=True)},
    }


def _websocket(settings: BrokerSettings) -> str:
    security = _tls(settings) or "  no_tls: true\n"
    origins = ", ".join(f'"{origin}"' for origin in settings.ws_origins)
    return "# --- For browsers, under /mqtt.\n" + _WEBSOCKET.format(
        host=_bracketed(settings.host),
        port=settings.ws_port,
        security=security,
        origins=f"  allowed_origins: [{origins}]\n" if origins else "",
    )


def _cluster(settings: BrokerSettings, node: int) -> str:
    own = settings.cluster_nodes[node]
    routes = [f"    $route_{number}" for number in range(1, len(settings.cluster_nodes) + 1)]
    return _CLUSTER.format(
        copies=copies_of(settings),
        listen=own,
        routes="\n".join(routes),
        tls=_route_tls(settings),
    )


def _route_tls(settings: BrokerSettings) -> str:
    if settings.tls_ca is None or not settings.has_tls:
        return ""
    return (
        "  # Nodes show their certificates to each other: they have to be for clients, too.\n"
        f'  tls {{ cert_file: "{settings.tls_cert}", key_file: "{settings.tls_key}",'
        f'\n    ca_file: "{settings.tls_ca}", verify: true, timeout: {ROUTE_TLS_SECONDS} }}\n'
    )


def _tls(settings: BrokerSettings) -> str:
    if not settings.has_tls:
        return ""
    return f'  tls {{ cert_file: "{settings.tls_cert}", key_file: "{settings.tls_key}" }}\n'


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
