"""A broker of Python in its own process: ``python -m tests.bench.brokers.broker_process FILE``.

FILE is JSON: ``{"kind": "ours" | "amqtt" | "amqtt-acl", "data_dir": …, "secrets": {…}}``. The port
is printed on one line; the process ends by SIGTERM, or with its stdin when the run was killed.
"""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from amqtt.broker import Broker

from broker.embedded import EmbeddedBroker
from broker.loop import run as run_loop
from broker.settings import BrokerSettings
from tests.bench.brokers import amqtt_acl
from tests.brokers import plain_amqtt
from tests.brokers.memory_credentials import MemoryCredentials

MAX_CONNECTIONS: Final = 12_000
"""Ten thousand others and the load."""
KINDS: Final = ("ours", "amqtt", "amqtt-acl")


@asynccontextmanager
async def ours(wanted: dict[str, Any]) -> AsyncIterator[int]:
    """The embedded broker as shipped; only its number of connections is raised."""
    more: dict[str, Any] = {}
    if "limits" in BrokerSettings.model_fields:
        more["limits"] = {"max_connections": MAX_CONNECTIONS}
    settings = BrokerSettings(port=0, data_dir=Path(wanted["data_dir"]), **more)
    broker = EmbeddedBroker(settings, MemoryCredentials(wanted["secrets"]))
    await broker.start()
    try:
        yield broker.port
    finally:
        await broker.stop()


@asynccontextmanager
async def amqtt(wanted: dict[str, Any]) -> AsyncIterator[int]:
    """amqtt with a plugin that knows the logins, and none or one with the topic table."""
    where, secrets = plain_amqtt.__name__, wanted["secrets"]
    plugins: dict[str, Any] = {f"{where}.PlainAuth": {"secrets": secrets}}
    if wanted["kind"] == "amqtt-acl":
        plugins[f"{amqtt_acl.__name__}.AclPlugin"] = {}
    listeners = {"default": {"type": "tcp", "bind": "127.0.0.1:0"}}
    broker = Broker({"listeners": listeners, "plugins": plugins})
    await broker.start()
    try:
        yield plain_amqtt.port_of(broker)
    finally:
        await broker.shutdown()


async def serve(wanted: dict[str, Any]) -> None:
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ending.set)
    loop.add_reader(sys.stdin, ending.set)
    run = ours if wanted["kind"] == "ours" else amqtt
    async with run(wanted) as port:
        print(port, flush=True)
        await ending.wait()


if __name__ == "__main__":
    chosen = json.loads(Path(sys.argv[1]).read_text())
    start = run_loop if chosen["kind"] == "ours" else asyncio.run
    start(serve(chosen))
