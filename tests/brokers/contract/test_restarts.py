"""SIGTERM, kill -9 and the loss of all that waits; on every broker."""

import asyncio

from tests.brokers.contract.clients import (
    Clients,
    clear_all,
    fetch_all,
    send,
)
from tests.brokers.contract.conftest import Make

ALICE, BOB = "user000-1", "user001-1"
COUNT = 450


async def test_what_waits_survives_a_restart(own_broker: Make, clients: Clients) -> None:
    broker = own_broker()
    sender = await clients.login(broker, ALICE)
    sent = await send(sender, ALICE, BOB, COUNT)
    await clear_all(sender, sent[:50])
    await asyncio.to_thread(broker.restart)
    recipient = await clients.login(broker, BOB)
    waiting = await fetch_all(recipient, set(sent[50:]))
    assert waiting.times == 1 or not broker.limits.whole


async def test_what_was_acknowledged_survives_kill_9_but_for_what_the_broker_says(
    own_broker: Make, clients: Clients
) -> None:
    broker = own_broker()
    sent = await send(await clients.login(broker, ALICE), ALICE, BOB, COUNT)
    await asyncio.to_thread(broker.kill)
    await asyncio.to_thread(broker.start)
    recipient = await clients.login(broker, BOB)
    if broker.limits.durable:
        await fetch_all(recipient, set(sent))
        return
    kept = set(sent[: COUNT - broker.limits.at_risk])
    found = list((await fetch_all(recipient, kept, more=True)).mail)
    # The last ones are lost, so the SDK sends until the recipient's own receipt is there.
    assert found == sent[: len(found)]
    assert len(found) < COUNT


async def test_a_wiped_broker_starts_empty_and_serves(own_broker: Make, clients: Clients) -> None:
    broker = own_broker()
    sent = await send(await clients.login(broker, ALICE), ALICE, BOB, 20)
    await asyncio.to_thread(broker.kill)
    broker.wipe()
    await asyncio.to_thread(broker.start)
    recipient = await clients.login(broker, BOB)
    again = await send(await clients.login(broker, ALICE), ALICE, BOB, 5)
    assert again == sent[:5]
    await fetch_all(recipient, set(again))
