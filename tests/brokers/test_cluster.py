"""Three nodes of NATS on the generated configuration: TLS between them, and what they share."""

import asyncio
import json
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from broker.accounts.nats_client import NatsError, NatsLogin, connected
from broker.accounts.nats_readers import LIST_SECONDS, LIST_SUBJECT
from broker.certs import CA_FILE, FOLDER, SERVER_FILE, SERVER_KEY_FILE
from broker.generate.deploy import read_nats_accounts
from broker.generate.nats import READER_USER, RETAINED_STREAM
from client_sdk.transport.errors import TransportError
from client_sdk.transport.mqtt import Login, MqttTransport
from client_sdk.transport.ports import Connection
from client_sdk.transport.tls import CaPin, PassingMemory
from client_sdk.wire.verifier import stored_credential
from keydir.data import read_ca_fingerprint
from tests.brokers.accounts_deployment import opened
from tests.brokers.cluster import NODES, START_SECONDS, Cluster
from tests.brokers.other_brokers import new_secret, require_program
from tests.e2e.clinic import until

pytestmark = pytest.mark.timeout(300)

TOPIC = f"v1/u/bob-1/in/alice-1/{'a' * 26}"
SECRET = new_secret()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster"), require_program("nats")) as running:
        with opened(running.data) as (store, _), store.transaction() as transaction:
            for login in ("alice-1", "bob-1"):
                transaction.logins.put(login, stored_credential(SECRET), None)
        yield running


def way(cluster: Cluster, number: int, login: Login) -> MqttTransport:
    fingerprint = read_ca_fingerprint(cluster.data)
    assert fingerprint is not None
    return MqttTransport([cluster.urls[number]], login, CaPin(fingerprint, PassingMemory()))


async def publish(cluster: Cluster, number: int, payload: bytes = b"sealed") -> None:
    """Publish mail at a node; the first login on a new cluster waits until nodes have agreed."""
    async with asyncio.timeout(START_SECONDS):
        while True:
            try:
                async with way(cluster, number, Login("alice-1", SECRET)).connect() as connection:
                    return await connection.publish(TOPIC, payload, retain=True)
            except* TransportError:
                await asyncio.sleep(0.2)


async def waiting(connection: Connection) -> bytes:
    """Return the mail that waits; a node may learn of it a moment later."""
    while True:
        await connection.subscribe("v1/u/bob-1/in/+/+")
        try:
            async with asyncio.timeout(1):
                async for message in connection.incoming():
                    return message.payload
        except TimeoutError:
            continue


async def test_nodes_share_logins_and_waiting_mail(cluster: Cluster) -> None:
    await publish(cluster, 0)
    for number in range(NODES):
        async with (
            asyncio.timeout(START_SECONDS),
            way(cluster, number, Login("bob-1", SECRET)).connect() as bob,
        ):
            assert await waiting(bob) == b"sealed"


@pytest.mark.parametrize("shows_certificate", [True, False])
def test_a_node_speaks_with_who_shows_a_certificate_of_its_ca(
    cluster: Cluster, shows_certificate: bool
) -> None:
    folder = cluster.data / FOLDER
    context = ssl.create_default_context(cafile=folder / CA_FILE)
    if shows_certificate:
        context.load_cert_chain(folder / SERVER_FILE, folder / SERVER_KEY_FILE)
    for node in cluster.nodes:
        assert (b"INFO" in first_bytes(node.route_port, context)) is shows_certificate


def first_bytes(port: int, context: ssl.SSLContext) -> bytes:
    """Return what a node says to another one first; nothing where it ends the connection."""
    try:
        with (
            socket.create_connection(("127.0.0.1", port), START_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as encrypted,
        ):
            return encrypted.recv(100)
    except OSError:
        return b""


async def test_who_looks_after_readers_may_do_nothing_else(cluster: Cluster) -> None:
    for subject in (f"$JS.API.STREAM.DELETE.{RETAINED_STREAM}", "v1.u.bob-1.in.alice-1.x"):
        with pytest.raises(NatsError, match="Permissions Violation"):
            await ask(cluster, subject)


async def ask(cluster: Cluster, subject: str) -> None:
    async with connected(reader(cluster, 0)) as connection:
        await connection.request(subject, b"{}")


async def test_a_node_learns_of_new_mail_when_the_node_with_its_reader_is_lost(
    cluster: Cluster,
) -> None:
    for number in range(NODES):
        await publish(cluster, number)  # a node makes its reader for the first device
    await asyncio.to_thread(
        until, lambda: all_known(cluster), "all readers are looked after", START_SECONDS
    )
    before = await readers(cluster, 0)
    lost = cluster.number_of_name(before[0]["cluster"]["leader"])
    staying = [number for number in range(NODES) if number != lost]
    cluster.kill_node(lost)
    try:
        async with asyncio.timeout(START_SECONDS):
            while not await all_are_read(cluster, staying[0], before, lost):
                pass
        await publish(cluster, staying[0], b"since the loss")
        for number in staying:
            async with (
                asyncio.timeout(START_SECONDS),
                way(cluster, number, Login("bob-1", SECRET)).connect() as bob,
            ):
                while await waiting(bob) != b"since the loss":
                    pass
    finally:
        cluster.start_node(lost)


def all_known(cluster: Cluster) -> bool:
    """Tell whether every `ratchetmq accounts` has seen every node's reader."""
    logs = [node.accounts.errors for node in cluster.nodes if node.accounts is not None]
    return all(f"readers of waiting mail count={NODES}" in log for log in logs)


async def all_are_read(
    cluster: Cluster, number: int, before: list[dict[str, Any]], lost: int
) -> bool:
    """Tell whether whoever had a reader before has one on a node that is there."""
    try:
        now = await readers(cluster, number)
    except (NatsError, LookupError):
        await asyncio.sleep(0.5)
        return False  # it elects
    there = {
        one["config"]["deliver_subject"]
        for one in now
        if one["cluster"].get("leader") and cluster.number_of_name(one["cluster"]["leader"]) != lost
    }
    if {one["config"]["deliver_subject"] for one in before} <= there:
        return True
    await asyncio.sleep(0.5)
    return False


async def readers(cluster: Cluster, number: int) -> list[dict[str, Any]]:
    async with connected(reader(cluster, number)) as connection:
        (listed,) = await connection.gather(LIST_SUBJECT, b"{}", LIST_SECONDS, 1)
    found: list[dict[str, Any]] = json.loads(listed)["consumers"]
    return found


def reader(cluster: Cluster, number: int) -> NatsLogin:
    known = read_nats_accounts(cluster.nodes[0].folder)
    return NatsLogin(cluster.nats_ports[number], READER_USER, known.system)
