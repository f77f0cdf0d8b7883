"""mosquitto_pub and mosquitto_sub, paho-mqtt, aiomqtt and mqtt.js, with device logins and rules."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.embedded import EmbeddedBroker
from broker.settings import BrokerSettings
from tests.brokers.memory_credentials import MemoryCredentials
from tests.brokers.names import ALICE, BOB, MALLORY, mail_topic, waiting
from tests.brokers.real_clients import (
    CALL,
    AiomqttLibrary,
    MosquittoTools,
    MqttJs,
    PahoLibrary,
    RealClient,
)
from tests.conftest import RequireProgram

NAMES = ("mosquitto", "paho", "aiomqtt", "mqtt.js")
PAIRS = list(zip(NAMES, NAMES[1:] + NAMES[:1], strict=True))
BINARY = bytes(range(256))
MAIL = {mail_topic(1): b"sealed", mail_topic(2): BINARY, mail_topic(3): b"\xff" * 90_000}


@pytest.fixture(scope="session")
def mqttjs_folder(
    require_program: RequireProgram, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """mqtt.js as its lock file pins it, installed into a folder of this run."""
    npm, folder = require_program("npm"), tmp_path_factory.mktemp("mqttjs")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(CALL.parent / name, folder)
    quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run([npm, "ci", *quiet], cwd=folder, check=True, timeout=100)
    return folder


@pytest.fixture
async def serving(tmp_path: Path, credentials: MemoryCredentials) -> AsyncIterator[EmbeddedBroker]:
    settings = BrokerSettings(port=0, ws_port=0, data_dir=tmp_path / "broker")
    broker = EmbeddedBroker(settings, credentials)
    await broker.start()
    yield broker
    await broker.stop()


def made(name: str, broker: EmbeddedBroker, request: pytest.FixtureRequest) -> RealClient:
    require: RequireProgram = request.getfixturevalue("require_program")
    if name == "mosquitto":
        require("mosquitto_pub")
        return MosquittoTools(broker.port)
    if name == "mqtt.js":
        folder: Path = request.getfixturevalue("mqttjs_folder")
        return MqttJs(require("node"), folder, broker.ws_port)
    return PahoLibrary(broker.port) if name == "paho" else AiomqttLibrary(broker.port)


@pytest.mark.parametrize(("sender", "recipient"), PAIRS)
async def test_mail_of_one_client_is_received_and_cleared_by_another(
    serving: EmbeddedBroker, request: pytest.FixtureRequest, sender: str, recipient: str
) -> None:
    alice, bob = (made(name, serving, request) for name in (sender, recipient))
    for topic, payload in MAIL.items():
        await alice.publish(ALICE, topic, payload)
    assert dict(await bob.receive(BOB, "v1/u/bob-1/#", len(MAIL))) == MAIL
    live = asyncio.create_task(bob.receive(BOB, "v1/u/bob-1/in/+/+", len(MAIL) + 1))
    await alice.publish(ALICE, mail_topic(4), b"while bob listens")
    assert dict(await live) == MAIL | {mail_topic(4): b"while bob listens"}
    for topic in MAIL:
        await bob.publish(BOB, topic, b"")
    assert waiting(serving) == {mail_topic(4): b"while bob listens"}
    await alice.publish(ALICE, mail_topic(4), b"")
    assert waiting(serving) == {}


@pytest.mark.parametrize("name", NAMES)
async def test_a_client_of_a_stranger_reads_and_changes_nothing(
    serving: EmbeddedBroker, request: pytest.FixtureRequest, name: str
) -> None:
    client = made(name, serving, request)
    await PahoLibrary(serving.port).publish(ALICE, mail_topic(1), b"sealed")
    for topic_filter in ("#", "v1/u/bob-1/#", "$share/g/v1/u/bob-1/#"):
        assert await client.is_refused(MALLORY, topic_filter)
    for payload in (b"forged", b""):
        await client.publish(MALLORY, mail_topic(1), payload)
    assert waiting(serving) == {mail_topic(1): b"sealed"}
