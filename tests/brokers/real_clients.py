"""Programs and libraries that people use, each behind the same three calls."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from aiomqtt import Client, MqttError

from tests.brokers.names import SECRETS
from tests.conformance.packets import FAILURE
from tests.conformance.paho_peer import Paho

PATIENCE_SECONDS = 20
CALL = Path(__file__).parent / "mqttjs" / "call.mjs"

Mail = list[tuple[str, bytes]]


class RealClient(Protocol):
    """Each call is a connection of its own, of a device with its secret."""

    async def publish(self, login: str, topic: str, payload: bytes) -> None:
        """Publish retained at QoS 1 and be acknowledged; an empty payload clears."""
        ...

    async def receive(self, login: str, topic_filter: str, count: int) -> Mail:
        """Subscribe and return the first messages."""
        ...

    async def is_refused(self, login: str, topic_filter: str) -> bool:
        """Tell whether a SUBSCRIBE is answered with a failure."""
        ...


class MosquittoTools:
    def __init__(self, port: int) -> None:
        self._port = port

    async def publish(self, login: str, topic: str, payload: bytes) -> None:
        message = ["-s"] if payload else ["-n"]
        arguments = ["-t", topic, "-r", "-q", "1", *message]
        code, _, errors = await self._run("mosquitto_pub", login, arguments, payload)
        assert (code, errors) == (0, b"")

    async def receive(self, login: str, topic_filter: str, count: int) -> Mail:
        arguments = ["-t", topic_filter, "-q", "1", "-C", str(count), "-F", "%t %x"]
        code, printed, _ = await self._run("mosquitto_sub", login, arguments)
        assert code == 0
        lines = [line.split() for line in printed.splitlines()]
        return [(topic.decode(), bytes.fromhex(payload.decode())) for topic, payload in lines]

    async def is_refused(self, login: str, topic_filter: str) -> bool:
        _, printed, errors = await self._run("mosquitto_sub", login, ["-t", topic_filter, "-E"])
        assert printed == b""
        return b"denied" in errors

    async def _run(
        self, program: str, login: str, arguments: Sequence[str], standard_input: bytes = b""
    ) -> tuple[int, bytes, bytes]:
        who = ["-i", login, "-u", login, "-P", SECRETS[login]]
        where = ["-h", "127.0.0.1", "-p", str(self._port)]
        return await run([program, *where, *who, *arguments], standard_input)


class PahoLibrary:
    def __init__(self, port: int) -> None:
        self._port = port

    async def publish(self, login: str, topic: str, payload: bytes) -> None:
        client = await self._open(login)
        await client.publish(topic, payload, 1, retain=True)
        await client.disconnect()

    async def receive(self, login: str, topic_filter: str, count: int) -> Mail:
        client = await self._open(login)
        assert await client.subscribe(topic_filter, 1) == 1
        found = [(message.topic, message.payload) for message in await client.messages(count)]
        await client.disconnect()
        return found

    async def is_refused(self, login: str, topic_filter: str) -> bool:
        client = await self._open(login)
        code = await client.subscribe(topic_filter, 1)
        await client.disconnect()
        return code == FAILURE

    async def _open(self, login: str) -> Paho:
        client = Paho(login)
        client.client.username_pw_set(login, SECRETS[login])
        assert await client.connect(self._port) == 0
        return client


class AiomqttLibrary:
    def __init__(self, port: int) -> None:
        self._port = port

    async def publish(self, login: str, topic: str, payload: bytes) -> None:
        async with self._client(login) as client:
            await client.publish(topic, payload, qos=1, retain=True)

    async def receive(self, login: str, topic_filter: str, count: int) -> Mail:
        found: Mail = []
        async with asyncio.timeout(PATIENCE_SECONDS), self._client(login) as client:
            await client.subscribe(topic_filter, qos=1)
            async for message in client.messages:
                found.append((str(message.topic), bytes(message.payload)))
                if len(found) == count:
                    break
        return found

    async def is_refused(self, login: str, topic_filter: str) -> bool:
        async with self._client(login) as client:
            try:
                codes = await client.subscribe(topic_filter, qos=1)
            except MqttError:
                return True
            return [getattr(code, "value", code) for code in codes] == [FAILURE]

    def _client(self, login: str) -> Client:
        return Client(
            "127.0.0.1", self._port, identifier=login, username=login, password=SECRETS[login]
        )


class MqttJs:
    """mqtt.js, over WebSocket."""

    def __init__(self, node: str, folder: Path, port: int) -> None:
        self._node = node
        self._folder = folder
        self._port = port

    async def publish(self, login: str, topic: str, payload: bytes) -> None:
        await self._call(login, call="publish", topic=topic, payload=payload.hex())

    async def receive(self, login: str, topic_filter: str, count: int) -> Mail:
        answer = await self._call(login, call="receive", topic=topic_filter, count=count)
        assert isinstance(answer, list)
        return [(topic, bytes.fromhex(payload)) for topic, payload, _ in answer]

    async def is_refused(self, login: str, topic_filter: str) -> bool:
        return await self._call(login, call="subscribe", topic=topic_filter) == "refused"

    async def _call(self, login: str, **wanted: object) -> object:
        address = {"url": f"ws://127.0.0.1:{self._port}/mqtt", "folder": str(self._folder)}
        known = {"login": login, "password": SECRETS[login]}
        told = json.dumps({**address, **known, **wanted}).encode()
        code, printed, errors = await run([self._node, str(CALL)], told)
        assert code == 0, errors.decode()
        return json.loads(printed)


async def run(command: Sequence[str], standard_input: bytes = b"") -> tuple[int, bytes, bytes]:
    """Run a program to its end; its code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            printed, errors = await process.communicate(standard_input)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    return process.returncode, printed, errors
