"""What was acknowledged is on the disk, synced: shown by a disk that loses what was not.

kill -9 proves nothing about it, since the system keeps a dead process's writes.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial, partialmethod
from pathlib import Path

import pytest

from broker.embedded import EmbeddedBroker
from broker.errors import DataDirectoryError
from broker.limits import BrokerLimits
from broker.mail_file import MailFile
from broker.retained import WaitingMail
from broker.settings import BrokerSettings
from tests.brokers.apsw_database import ApswDatabase
from tests.brokers.eventually import eventually
from tests.brokers.memory_credentials import MemoryCredentials
from tests.brokers.names import ALICE, BOB, SECRETS, mail_topic
from tests.brokers.power_disk import PowerDisk
from tests.conformance.client import Client, Clients
from tests.conformance.open_auth import open_embedded
from tests.conformance.packets import PUBACK, PUBREC, Hello, publish

FULL, NORMAL, OFF = "FULL", "NORMAL", "OFF"
MESSAGES = 1200
WINDOW = 30
LOSSES = 60
PATIENCE_SECONDS = 60.0

Mail = dict[str, bytes]


@asynccontextmanager
async def on_disk(
    disk: PowerDisk,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    synchronous: str = FULL,
    make: Callable[[], EmbeddedBroker] | None = None,
) -> AsyncIterator[EmbeddedBroker]:
    connect = partial(ApswDatabase, disk, synchronous=synchronous)
    with monkeypatch.context() as patch:
        patch.setattr(WaitingMail, "open", partialmethod(WaitingMail.open, connect=connect))
        limits = BrokerLimits(max_pair_messages=10 * MESSAGES, max_pair_bytes=2**30)
        settings = BrokerSettings(port=0, data_dir=folder, limits=limits)
        broker = make() if make else EmbeddedBroker(settings, MemoryCredentials(SECRETS))
        await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()


def hello(name: str) -> Hello:
    return Hello(name, username=name, password=SECRETS[name].encode())


def found_on(disk: PowerDisk, folder: Path) -> Mail:
    """What the broker's file holds after a start on this disk."""
    try:
        file = MailFile.open(folder, partial(ApswDatabase, disk, synchronous=FULL))
    except DataDirectoryError:
        return {}  # torn beyond repair: all is lost
    places = file.load(0)
    payloads: dict[int, bytes] = {}
    for start in range(0, len(places), 500):
        payloads |= file.payloads([place.number for place in places[start : start + 500]])
    file.close()
    return {place.topic: payloads[place.number] for place in places}


class Publisher:
    """Publishes and clears with a window, and keeps what it was acknowledged."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._sent: dict[int, tuple[str, bytes]] = {}
        self.waiting: Mail = {}
        self._acknowledged = 0
        self._progress = asyncio.Condition()

    async def until(self, acknowledged: int) -> None:
        """Return once so many acknowledgements were read."""
        async with asyncio.timeout(PATIENCE_SECONDS), self._progress:
            await self._progress.wait_for(lambda: self._acknowledged >= acknowledged)

    async def run(self, count: int) -> None:
        number = 0
        while number < count or self._sent:
            while number < count and len(self._sent) < WINDOW:
                number += 1
                self._send(number)
            topic, payload = self._sent.pop((await self._client.expect(PUBACK)).packet_id)
            if payload:
                self.waiting[topic] = payload
            async with self._progress:
                self._acknowledged += 1
                self._progress.notify_all()

    def _send(self, number: int) -> None:
        topic, payload = mail_topic(number), number.to_bytes(4) + bytes(number * 37 % 9000)
        if number % 3 == 0 and self.waiting:
            topic, payload = next(iter(self.waiting)), b""
            del self.waiting[topic]
        self._sent[number] = (topic, payload)
        self._client.send(publish(topic, payload, 1, retain=True, packet_id=number))


async def lost_after_power_losses(
    folder: Path, monkeypatch: pytest.MonkeyPatch, synchronous: str, disk: PowerDisk
) -> int:
    """Publish, losing the power of a copy of the disk again and again; return what was lost."""
    lost = 0
    moments = sorted(random.Random(6).sample(range(1, MESSAGES), LOSSES))
    async with (
        on_disk(disk, folder, monkeypatch, synchronous) as broker,
        Clients(broker.port) as clients,
    ):
        publisher = Publisher(await clients.connect(hello(ALICE)))
        publishing = asyncio.create_task(publisher.run(MESSAGES))
        for moment in moments:
            await publisher.until(moment)
            waiting = dict(publisher.waiting)
            image = disk.after_power_loss(moment)
            found = await asyncio.to_thread(found_on, image, folder)
            lost += sum(found.get(topic) != payload for topic, payload in waiting.items())
        await publishing
    return lost


async def test_a_power_loss_takes_nothing_that_was_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await lost_after_power_losses(tmp_path, monkeypatch, FULL, PowerDisk()) == 0


@pytest.mark.parametrize("synchronous", [NORMAL, OFF])
async def test_with_less_syncing_the_same_power_losses_take_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, synchronous: str
) -> None:
    """The control: the disk does lose what was not synced."""
    assert await lost_after_power_losses(tmp_path, monkeypatch, synchronous, PowerDisk()) > 100


async def test_a_disk_that_fails_to_sync_now_and_then_loses_nothing_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a failed sync was to write is written again, not only synced again."""
    monkeypatch.setattr("broker.retained._RETRY_SECONDS", 0.01)
    disk = PowerDisk()
    async with on_disk(disk, tmp_path, monkeypatch):
        pass
    disk.fails_every = 5
    assert await lost_after_power_losses(tmp_path, monkeypatch, FULL, disk) == 0
    assert disk.failed_syncs > 10


async def test_nothing_is_acknowledged_while_the_disk_does_not_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = PowerDisk()
    async with on_disk(disk, tmp_path, monkeypatch) as broker, Clients(broker.port) as clients:
        alice, bob = await clients.connect(hello(ALICE)), await clients.connect(hello(BOB))
        await alice.publish(mail_topic(1), b"before", 1, retain=True)
        disk.sync_fails = True
        for number in (2, 3):
            alice.send(publish(mail_topic(number), b"during", 1, retain=True, packet_id=number))
        alice.send(publish(mail_topic(1), b"", 1, retain=True, packet_id=4))
        await eventually(lambda: disk.failed_syncs >= 2, seconds=20)
        assert set(found_on(disk.after_power_loss(1), tmp_path)) == {mail_topic(1)}
        await alice.ping()  # `expect` fails at a PUBACK before the answer
        assert await bob.subscribe(f"v1/u/{BOB}/#", qos=1) == [1]
        disk.sync_fails = False
        acknowledged = [(await alice.expect(PUBACK)).packet_id for _ in range(3)]
        assert acknowledged == [2, 3, 4]
        expected = {mail_topic(number): b"during" for number in (2, 3)}
        assert found_on(disk.after_power_loss(2), tmp_path) == expected
        assert broker.statistics.commit_failures >= 2


async def test_a_clear_is_synced_soon_without_a_message_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = PowerDisk()
    async with (
        on_disk(disk, tmp_path, monkeypatch) as broker,
        Clients(broker.port) as clients,
    ):
        alice = await clients.connect(hello(ALICE))
        await alice.publish(mail_topic(1), b"sealed", 1, retain=True)
        assert len(found_on(disk.after_power_loss(1), tmp_path)) == 1
        await alice.publish(mail_topic(1), b"", 1, retain=True)
        await eventually(lambda: found_on(disk.after_power_loss(2), tmp_path) == {})


async def test_a_message_at_qos_2_that_is_sent_again_is_not_received_before_it_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PUBREC takes the message over as PUBACK does, also in a session that goes on."""
    disk, hello_again = PowerDisk(), Hello("sender", clean=False)
    plain = partial(open_embedded, BrokerSettings(port=0, data_dir=tmp_path))
    async with (
        on_disk(disk, tmp_path, monkeypatch, make=plain) as broker,
        Clients(broker.port) as clients,
    ):
        sender = await clients.connect(hello_again)
        disk.sync_fails = True
        for dup in (False, True):
            sender.send(publish("kept/a", b"once", 2, retain=True, dup=dup, packet_id=9))
            await sender.ping()  # `expect` fails at a PUBREC before the answer
            if not dup:
                await sender.abort()
                sender = await clients.connect(hello_again)
                assert sender.session_present
        await eventually(lambda: disk.failed_syncs >= 2, seconds=20)
        disk.sync_fails = False
        assert (await sender.expect(PUBREC)).packet_id == 9
        assert found_on(disk.after_power_loss(1), tmp_path) == {"kept/a": b"once"}


async def test_after_a_power_loss_the_broker_hands_out_what_it_had_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = PowerDisk()
    async with on_disk(disk, tmp_path, monkeypatch) as broker, Clients(broker.port) as clients:
        publisher = Publisher(await clients.connect(hello(ALICE)))
        await publisher.run(100)
        after = disk.after_power_loss(3)
    async with on_disk(after, tmp_path, monkeypatch) as broker, Clients(broker.port) as clients:
        bob = await clients.connect(hello(BOB))
        await bob.subscribe(f"v1/u/{BOB}/in/+/+", qos=1)
        found = await bob.messages(len(publisher.waiting))
        assert {message.topic: message.payload for message in found} == publisher.waiting
