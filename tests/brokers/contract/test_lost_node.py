"""A cluster that loses a node: what it serves, and what the SDK makes of it."""

import asyncio
import contextlib

import pytest

from tests.brokers.contract.clients import ALL_SECONDS, TRY_SECONDS, Clients, fetch_all, hear, send
from tests.brokers.contract.conftest import Make
from tests.brokers.contract.nats import NatsCluster
from tests.brokers.contract.office import Office
from tests.brokers.contract.talk import converse
from tests.brokers.contract.under_test import BrokerUnderTest
from tests.conftest import FULL

ALICE, BOB = "user000-1", "user001-1"

pytestmark = pytest.mark.timeout(240)


@pytest.mark.parametrize("broker_name", ["nats-cluster"])
@pytest.mark.parametrize("lost", range(3) if FULL else [0])
async def test_a_cluster_that_loses_a_node_serves_at_the_others(
    own_broker: Make, clients: Clients, lost: int
) -> None:
    broker = own_broker()
    assert isinstance(broker, NatsCluster)
    near, far = (lost + 1) % 3, (lost + 2) % 3
    before = set(await send(await clients.login(broker, ALICE, node=lost), ALICE, BOB, 100))
    recipient = await clients.login(broker, BOB, node=far)
    await fetch_all(recipient, before)
    await asyncio.to_thread(broker.kill_node, lost)
    after = await keep_sending(broker, clients, near) - before
    # Who is connected gets what is published after the loss ...
    await hear(recipient, after)
    # ... who connects later gets what waited before it, and what was published since for certain
    # once the lost node is back: a node may learn of new retained messages through another one.
    later = await clients.login(broker, BOB, node=far)
    await fetch_all(later, before, more=True)
    await asyncio.to_thread(broker.start_node, lost)
    for node in (near, far, lost):
        back = await clients.login(broker, BOB, node=node)
        await fetch_all(back, before | after)


async def keep_sending(broker: BrokerUnderTest, clients: Clients, node: int) -> set[str]:
    """Publish again until all is acknowledged, as an outbox does; return the topics."""
    async with asyncio.timeout(ALL_SECONDS):
        while True:
            sender = await clients.login(broker, ALICE, node=node)
            with contextlib.suppress(TimeoutError, AssertionError):
                async with asyncio.timeout(3 * TRY_SECONDS):
                    return set(await send(sender, ALICE, BOB, 200))


@pytest.mark.parametrize("broker_name", ["nats-cluster"])
@pytest.mark.parametrize("lost", range(3) if FULL else [0])
async def test_the_loss_of_a_node_in_the_middle_loses_and_repeats_nothing(
    office: Office, lost: int
) -> None:
    broker = office.broker
    assert isinstance(broker, NatsCluster)
    await converse(office, lambda: broker.kill_node(lost))
