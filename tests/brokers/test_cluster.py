"""Three nodes of NATS on the generated configuration: TLS between them, and what they share."""

import asyncio
import json
import socket
import ssl
from collections.abc import Iterator

import pytest

from broker.accounts.nats_client import NatsError, NatsLogin, connected
from broker.accounts.nats_readers import LIST_SUBJECT
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


async def publish(cluster: Cluster, number: int) -> None:
    """Publish mail at a node; the first login on a new cluster waits until nodes have agreed."""
    async with asyncio.timeout(START_SECONDS):
        while True:
            try:
                async with way(cluster, number, Login("alice-1", SECRET)).connect() as connection:
                    return await connection.publish(TOPIC, b"sealed", retain=True)
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


async def test_every_nodes_reader_of_waiting_mail_has_a_copy_on_each_node(
    cluster: Cluster,
) -> None:
    for number in range(NODES):
        await publish(cluster, number)  # a node makes its reader for the first device
    async with asyncio.timeout(START_SECONDS):
        while (found := await copies(cluster)) != [NODES] * NODES:
            assert len(found) <= NODES
            await asyncio.sleep(0.2)


async def copies(cluster: Cluster) -> list[int]:
    async with connected(reader(cluster)) as connection:
        listed = json.loads(await connection.request(LIST_SUBJECT, b"{}"))
    return [one["config"]["num_replicas"] for one in listed["consumers"]]


async def test_who_looks_after_readers_may_do_nothing_else(cluster: Cluster) -> None:
    for subject in (f"$JS.API.STREAM.DELETE.{RETAINED_STREAM}", "v1.u.bob-1.in.alice-1.x"):
        with pytest.raises(NatsError, match="Permissions Violation"):
            await ask(cluster, subject)


async def ask(cluster: Cluster, subject: str) -> None:
    async with connected(reader(cluster)) as connection:
        await connection.request(subject, b"{}")


def reader(cluster: Cluster) -> NatsLogin:
    known = read_nats_accounts(cluster.nodes[0].folder)
    return NatsLogin(cluster.nats_ports[0], READER_USER, known.system)
