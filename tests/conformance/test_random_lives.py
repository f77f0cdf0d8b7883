"""Random lives of four clients go as the model says: every message that is owed, and no other."""

import random
from collections import Counter, defaultdict

import pytest

from tests.conformance.client import Client, Clients
from tests.conformance.model import Model, Owed
from tests.conformance.packets import Hello, Will

NAMES = ("ann", "ben", "cid", "dot")
TOPICS = ("a", "a/b", "a/b/c", "b", "b/b", "/a", "a/", "$a/b")
FILTERS = (*TOPICS, "#", "+", "a/#", "a/+", "+/b", "+/+", "a/b/#", "$a/#", "/+")
STEPS = 80


class Lives:
    """The real clients beside the model."""

    def __init__(self, clients: Clients, watcher: Client, seed: int) -> None:
        self._clients = clients
        self._watcher = watcher
        self._draw = random.Random(seed)
        self._open: dict[str, Client] = {}
        self._model = Model()
        self._number = 0

    async def step(self) -> None:
        """Do one thing, and see that everyone is sent what it is owed."""
        name = self._draw.choice(NAMES)
        if name not in self._open or self._draw.random() < 0.07:
            await self._connect(name)
        else:
            await self._draw.choice(
                (self._subscribe, self._subscribe, self._unsubscribe, self._end, self._lose)
                + (self._publish,) * 6
            )(name)
        for other in NAMES:
            if other in self._open:
                await self._receive(other)

    async def _connect(self, name: str) -> None:
        clean, will = self._draw.random() < 0.3, self._drawn_will()
        older = self._model.sessions.get(name)
        due = older.will if older is not None else None
        present = self._model.connect(name, clean=clean, will=will)
        told = Will(will.topic, will.payload, will.qos, will.retain) if will else None
        self._open[name] = await self._clients.connect(Hello(name, clean=clean, will=told))
        assert self._open[name].session_present is present
        await self._see(due)

    def _drawn_will(self) -> Owed | None:
        if self._draw.random() < 0.5:
            return None
        message = self._message()
        return message._replace(payload=b"will %d" % self._number)

    def _message(self) -> Owed:
        self._number += 1
        payload = b"" if self._draw.random() < 0.15 else b"%d" % self._number
        topic, qos = self._draw.choice(TOPICS), self._draw.randrange(3)
        return Owed(topic, payload, qos, self._draw.random() < 0.4)

    async def _end(self, name: str) -> None:
        goodbye, client = self._draw.random() < 0.5, self._open.pop(name)
        due = None if goodbye else self._model.sessions[name].will
        await (client.disconnect() if goodbye else client.abort())
        self._model.end(name, goodbye=goodbye)
        await self._see(due)

    async def _lose(self, name: str) -> None:
        """Publish, and lose a client that has not read it, nor acknowledged it."""
        await self._publish(name)
        await self._end(self._draw.choice(list(self._open)))

    async def _see(self, will: Owed | None) -> None:
        """Wait until the broker has published a will: it notices a lost client in its own time."""
        while will is not None and (await self._watcher.message()).payload != will.payload:
            pass

    async def _subscribe(self, name: str) -> None:
        topic_filter, qos = self._draw.choice(FILTERS), self._draw.randrange(3)
        self._model.subscribe(name, topic_filter, qos)
        assert await self._open[name].subscribe(topic_filter, qos=qos) == [qos]

    async def _unsubscribe(self, name: str) -> None:
        filters = [*self._model.sessions[name].filters, "never"]
        topic_filter = self._draw.choice(filters)
        self._model.unsubscribe(name, topic_filter)
        await self._open[name].unsubscribe(topic_filter)

    async def _publish(self, name: str) -> None:
        topic, payload, qos, retain = self._message()
        self._model.publish(topic, payload, qos, retain=retain)
        await self._open[name].publish(topic, payload, qos, retain=retain)

    async def _receive(self, name: str) -> None:
        client, session = self._open[name], self._model.sessions[name]
        messages = await client.messages(len(session.owed))
        await client.ping()
        assert client._kept == []
        found = [Owed(m.topic, m.payload, m.qos, m.retain) for m in messages]
        assert Counter(found) == Counter(session.owed)
        assert _by_topic(found) == _by_topic(session.owed)
        session.owed.clear()


def _by_topic(messages: list[Owed]) -> dict[tuple[str, int, bool], list[bytes]]:
    """MQTT-4.6.0-6: the order of each topic at each QoS."""
    ordered: dict[tuple[str, int, bool], list[bytes]] = defaultdict(list)
    for message in messages:
        ordered[message.topic, message.qos, message.retain].append(message.payload)
    return ordered


@pytest.mark.parametrize("seed", range(12))
async def test_a_random_life_goes_as_the_model_says(
    clients: Clients, seed: int, on_mosquitto: bool
) -> None:
    if on_mosquitto:
        pytest.skip("Mosquitto 2.0.11 takes the first filter's QoS")
    print(f"seed {seed}")
    watcher = await clients.connect(Hello("watcher"))
    await watcher.subscribe("#", "$a/#", qos=0)
    lives = Lives(clients, watcher, seed)
    for _ in range(STEPS):
        await lives.step()
