"""Which settings another broker than ours cannot keep, or only unsafely: refused, never ignored."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from broker.errors import UnsafeError
from broker.generate.mosquitto import MIN_QUEUED_MESSAGES
from broker.public_urls import refused_urls
from broker.settings import MAX_PORT, BrokerSettings, is_loopback

MIN_NODES: Final = 3
"""Of a cluster: two of three still agree when one is lost."""

MAX_NODES: Final = 5
"""JetStream keeps at most five copies."""

MIN_CLUSTER_URLS: Final = 2
"""A device goes on to another node only where its invitation named one."""

KEPT_LIMITS: Final[Mapping[str, frozenset[str]]] = {
    "mosquitto": frozenset(
        {"max_connections", "max_packet_bytes", "max_inflight", "max_queue_messages"}
    ),
    "nats": frozenset({"max_connections", "max_packet_bytes", "max_waiting_bytes"}),
}
"""The limits that a generated configuration has."""

_UNQUOTABLE: Final = frozenset('"\\$#')
"""Printable characters that end or change a value in one of the two formats."""

_NODE: Final = re.compile(r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")


def require_deployable(settings: BrokerSettings) -> None:
    """Return if ``settings`` can be kept, safely, by the broker that they name.

    Raises:
        UnsafeError: They cannot; all reasons are in the text, and nothing was written.
    """
    refused = list(refusals(settings))
    if refused:
        raise UnsafeError(f"{'; '.join(refused)}; nothing was written or started")


def refusals(settings: BrokerSettings) -> Iterator[str]:
    """Yield every reason why no deployment is made of ``settings``; reads no files."""
    rules: tuple[Callable[[BrokerSettings], Iterator[str]], ...] = (
        _exposure,
        refused_urls,
        _embedded_only,
        _websocket,
        _cluster,
        _values,
        _limits,
    )
    for rule in rules:
        yield from rule(settings)


def _exposure(settings: BrokerSettings) -> Iterator[str]:
    if not (is_loopback(settings.host) or settings.has_tls or settings.allow_plaintext):
        yield (
            f"{settings.host} is beyond loopback and there is no TLS: set tls_cert and tls_key, or"
            " allow_plaintext behind a VPN or TLS proxy"
        )


def _embedded_only(settings: BrokerSettings) -> Iterator[str]:
    if settings.broker == "embedded":
        yield "the embedded broker needs no configuration: set broker to mosquitto or nats"
    if settings.metrics_port is not None:
        yield "metrics_port is of the embedded broker: leave it out"
    for name, port in (("port", settings.port), ("nats_port", settings.nats_port)):
        if port == 0:
            yield f"{name} 0 takes any free port, and this broker is configured with one: name it"


def _websocket(settings: BrokerSettings) -> Iterator[str]:
    if settings.ws_port is None:
        return
    if settings.broker == "mosquitto":
        yield (
            "ws_port: Mosquitto 2.0.11 of Debian listens for WebSocket on every address, whatever"
            " it is told, and loses larger messages there: leave it out, or take nats or embedded"
        )
    if settings.ws_port == 0:
        yield "ws_port 0 takes any free port, and this broker is configured with one: name it"


def _cluster(settings: BrokerSettings) -> Iterator[str]:
    nodes = settings.cluster_nodes
    if not nodes:
        return
    if settings.broker != "nats":
        yield f"cluster_nodes: {settings.broker} does not run as a cluster; that is for nats"
        return
    if len(nodes) % 2 == 0 or not MIN_NODES <= len(nodes) <= MAX_NODES:
        yield f"cluster_nodes: {len(nodes)} nodes cannot lose one and agree; name three or five"
    if len({node.lower() for node in nodes}) < len(nodes):
        yield "cluster_nodes: a node is named twice"
    parsed = [(node, _host_and_port(node)) for node in nodes]
    for node, found in parsed:
        if found is None:
            yield f"cluster_nodes: {node!r} is not host:port"
    known = [found for _, found in parsed if found is not None]
    yield from _node_ports(settings, known)
    beyond = [host for host, _ in known if not is_loopback(host)]
    if beyond and (not settings.has_tls or settings.tls_ca is None):
        yield (
            f"cluster_nodes: passwords and mail would cross the network to {beyond[0]} readable:"
            " set tls_cert, tls_key and tls_ca"
        )
    if beyond and not (settings.database_url or "").startswith("postgresql://"):
        yield (
            f"database_url: {beyond[0]} cannot share a file of logins: set it to"
            " postgresql://user@host:port/database"
        )
    if len(set(settings.public_urls)) < MIN_CLUSTER_URLS:
        yield (
            "public_urls: invitations would name one node, and its devices stop when it does: name"
            " the addresses of at least two"
        )


def _node_ports(settings: BrokerSettings, nodes: list[tuple[str, int]]) -> Iterator[str]:
    own = {"port": settings.port, "ws_port": settings.ws_port, "nats_port": settings.nats_port}
    for name, port in own.items():
        if any(port == one for _, one in nodes):
            yield f"cluster_nodes: {port} is {name}, too, on the same machine: take another one"
    here = [port for host, port in nodes if is_loopback(host)]
    if len(set(here)) < len(here):
        yield "cluster_nodes: two nodes on this machine have one port: give each its own"


def _host_and_port(node: str) -> tuple[str, int] | None:
    found = _NODE.fullmatch(node)
    if found is None or not 1 <= int(found[2]) <= MAX_PORT:
        return None
    return found[1].strip("[]").lower(), int(found[2])


def _values(settings: BrokerSettings) -> Iterator[str]:
    values = [
        ("host", settings.host),
        ("data_dir", str(settings.data_dir)),
        ("tls_cert", str(settings.tls_cert or "")),
        ("tls_key", str(settings.tls_key or "")),
        ("tls_ca", str(settings.tls_ca or "")),
        *(("ws_origins", origin) for origin in settings.ws_origins),
    ]
    for name, value in values:
        if not is_quotable(value):
            yield f"{name}: {value!r} has a character that a configuration file cannot hold"


def _limits(settings: BrokerSettings) -> Iterator[str]:
    if settings.broker == "embedded":
        return
    kept = KEPT_LIMITS[settings.broker]
    for name in sorted(settings.limits.model_fields_set - kept):
        yield (
            f"limits.{name}: {settings.broker} cannot keep it: leave it out; it keeps"
            f" {', '.join(sorted(kept))}"
        )
    queued = settings.limits.max_queue_messages
    given = "max_queue_messages" in settings.limits.model_fields_set & kept
    if given and queued < MIN_QUEUED_MESSAGES:
        yield (
            f"limits.max_queue_messages: {settings.broker} would drop what waits beyond {queued}"
            f" without a word: leave it out, or set it to {MIN_QUEUED_MESSAGES} or more"
        )


def is_quotable(value: str) -> bool:
    """Tell whether a value in a generated file stays one value."""
    return value.isprintable() and not any(character in _UNQUOTABLE for character in value)
