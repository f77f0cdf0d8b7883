"""Offline delivery, order, clearing, many waiting messages, and the sweep; on every broker."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from client_sdk.transport.mqtt import Login, MqttTransport
from client_sdk.wire.ids import DIRECTORY_LOGIN, DeviceAddress
from client_sdk.wire.topics import device_tree, inbox_filter, sent_filter
from keydir.sweep import Sweeper
from tests.brokers.contract.clients import (
    ALL_SECONDS,
    Clients,
    Device,
    clear_all,
    fetch_all,
    fetch_only,
    hear,
    send,
)
from tests.brokers.contract.conftest import People, pool
from tests.brokers.contract.mosquitto import Mosquitto
from tests.brokers.contract.under_test import BrokerUnderTest, Options
from tests.brokers.names import mail_topic

MANY = 3_000
SENDERS = 4
"""The embedded broker keeps 1,000 messages of one sender for one recipient."""

SWEPT = 150
"""Messages that wait for a revoked device, and as many from it."""

QUESTION = MANY
"""The number of a message that asks whether messages arrive."""

DEFAULT_OF_MOSQUITTO = 1_020
"""20 in flight and 1,000 queued; the others are dropped, and SUBACK says success."""


async def test_a_message_waits_for_a_device_that_is_away(
    broker: BrokerUnderTest, person: People, clients: Clients
) -> None:
    alice, bob = person(), person()
    sender = await clients.login(broker, alice)
    (topic,) = await send(sender, alice, bob, 1)
    await sender.disconnect()
    recipient = await clients.login(broker, bob, node=1)
    assert (await fetch_all(recipient, {topic})).mail == {topic: b"0"}


async def test_live_messages_arrive_in_the_order_of_their_sender(
    broker: BrokerUnderTest, person: People, clients: Clients
) -> None:
    alice, bob = person(), person()
    recipient = await clients.login(broker, bob, node=1)
    await recipient.subscribe(inbox_filter(DeviceAddress(bob)))
    sender = await clients.login(broker, alice)
    await until_live(sender, recipient, alice, bob)
    sent = await send(sender, alice, bob, 300)
    await hear(recipient, set(sent))
    assert [one.topic for one in recipient.messages if one.topic in sent] == sent


async def until_live(sender: Device, recipient: Device, login: str, to: str) -> None:
    """Send until something arrives: a subscription reaches the other nodes in its own time."""
    async with asyncio.timeout(ALL_SECONDS):
        while not recipient.messages:
            await sender.publish(mail_topic(QUESTION, login, to), b"are you there?")
            await recipient.until_quiet()


async def test_waiting_messages_arrive_in_order_where_the_broker_promises_it(
    broker: BrokerUnderTest, person: People, clients: Clients
) -> None:
    alice, bob = person(), person()
    sent = await send(await clients.login(broker, alice), alice, bob, 200)
    recipient = await clients.login(broker, bob)
    arrived = list((await fetch_all(recipient, set(sent))).mail)
    # NATS hands them over in a random order: the SDK orders by the number inside the message.
    assert (arrived == sent) is broker.limits.in_order


async def test_a_cleared_message_is_gone_for_everybody(
    broker: BrokerUnderTest, person: People, clients: Clients
) -> None:
    alice, bob = person(), person()
    sender = await clients.login(broker, alice)
    sent = await send(sender, alice, bob, 4)
    recipient = await clients.login(broker, bob, node=1)
    await fetch_all(recipient, set(sent))
    await clear_all(recipient, sent[:2])
    await clear_all(sender, sent[2:3])
    again = await clients.login(broker, bob, node=2)
    await fetch_only(again, set(sent[3:]))


@pytest.mark.timeout(240)
async def test_three_thousand_waiting_messages_all_arrive(
    broker: BrokerUnderTest, person: People, clients: Clients
) -> None:
    bob, sent = person(), set[str]()
    for _ in range(SENDERS):
        alice = person()
        sender = await clients.login(broker, alice)
        sent |= set(await send(sender, alice, bob, MANY // SENDERS))
        await sender.disconnect()
    recipient = await clients.login(broker, bob)
    waiting = await fetch_all(recipient, sent)
    assert waiting.times == 1 or not broker.limits.whole


@pytest.mark.parametrize("default_queue", [True, False])
async def test_mosquitto_as_shipped_silently_hands_over_a_thousand_and_twenty_and_ours_all(
    tmp_path: Path, clients: Clients, default_queue: bool
) -> None:
    made = Mosquitto(tmp_path, pool(), Options())
    if default_queue:
        config = made.machines[0].config
        ours = re.compile("^max_(queued|inflight)_messages .*$", re.MULTILINE)
        text, removed = ours.subn("", config.read_text())
        assert removed == 2
        config.write_text(text)
    with made as broker:
        alice, bob = "user000-1", "user001-1"
        sent = await send(await clients.login(broker, alice), alice, bob, MANY)
        recipient = await clients.login(broker, bob)
        assert await recipient.subscribe(inbox_filter(DeviceAddress(bob)), qos=1) == [1]
        expected = sent[:DEFAULT_OF_MOSQUITTO] if default_queue else sent
        await recipient.until(len(expected))
        assert [one.topic for one in await recipient.until_quiet()] == expected


class OneSweep:
    """The records of a sweep: which devices are due, which were done."""

    def __init__(self, *due: str) -> None:
        self.due = [DeviceAddress(one) for one in due]

    async def unswept(self) -> Sequence[DeviceAddress]:
        return self.due

    async def note_sweep(self, addresses: Sequence[DeviceAddress]) -> None:
        self.due = [one for one in self.due if one not in addresses]


async def test_a_sweep_leaves_no_retained_topic_of_a_revoked_device(
    broker: BrokerUnderTest, person: People, clients: Clients
) -> None:
    alice, bob, mallory = person(), person(), person()
    sender = await clients.login(broker, alice)
    kept = await send(sender, alice, bob, 20)
    gone = set(await send(sender, alice, mallory, SWEPT))
    gone |= set(await send(await clients.login(broker, mallory), mallory, bob, SWEPT))
    # On each node: the sweep takes any of them, as it comes.
    await at_each_node(broker, clients, mallory, lambda directory: fetch_all(directory, gone))
    await sweep(broker, mallory)
    await at_each_node(broker, clients, mallory, lambda directory: fetch_only(directory, set()))
    recipient = await clients.login(broker, bob)
    await fetch_only(recipient, set(kept))


async def at_each_node(
    broker: BrokerUnderTest,
    clients: Clients,
    device: str,
    look: Callable[[Device], Awaitable[object]],
) -> None:
    """Look as the directory, who sees all that waits for a device and from it."""
    for node in range(len(broker.ports)):
        directory = await clients.login(broker, DIRECTORY_LOGIN, node)
        directory.filters = (device_tree(DeviceAddress(device)), sent_filter(DeviceAddress(device)))
        await look(directory)
        await directory.disconnect()


async def sweep(broker: BrokerUnderTest, device: str) -> None:
    """Let the key directory's sweep run on a connection of its own."""
    login = Login(DIRECTORY_LOGIN, broker.logins[DIRECTORY_LOGIN])
    records = OneSweep(device)
    async with MqttTransport(broker.urls, login).connect() as connection:
        sweeper = Sweeper(connection, records, quiet_seconds=0.5)

        async def read() -> None:
            async for incoming in connection.incoming():
                sweeper.found(incoming)

        reading = asyncio.create_task(read())
        await sweeper.look()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    assert records.due == []


async def test_what_a_device_no_longer_subscribes_to_does_not_arrive(
    broker: BrokerUnderTest, person: People, clients: Clients
) -> None:
    alice, bob = person(), person()
    recipient, sender = await clients.login(broker, bob), await clients.login(broker, alice)
    await recipient.subscribe(inbox_filter(DeviceAddress(bob)))
    await recipient.unsubscribe(inbox_filter(DeviceAddress(bob)))
    await send(sender, alice, bob, 1)
    assert await recipient.ping()
    assert await recipient.until_quiet() == []
    await fetch_all(recipient, {mail_topic(0, alice, bob)})
