"""A broker in a process of its own, to be killed: ``python -m tests.brokers.broker_process FILE``.

FILE is JSON: ``{"data_dir": …, "secrets": {login: secret}}``. The port is printed on one line.
"""

import asyncio
import json
import sys
from pathlib import Path

from broker.embedded import EmbeddedBroker
from broker.loop import run as run_loop
from broker.settings import BrokerSettings
from tests.brokers.memory_credentials import MemoryCredentials


async def serve(data_dir: Path, secrets: dict[str, str]) -> None:
    broker = EmbeddedBroker(BrokerSettings(port=0, data_dir=data_dir), MemoryCredentials(secrets))
    await broker.start()
    print(broker.port, flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await broker.stop()


if __name__ == "__main__":
    wanted = json.loads(Path(sys.argv[1]).read_text())
    run_loop(serve(Path(wanted["data_dir"]), wanted["secrets"]))
