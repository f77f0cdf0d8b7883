"""A broker in a process of its own, to be killed: ``python -m tests.brokers.broker_process FILE``.

FILE is JSON: ``{"data_dir": …, "secrets": {login: secret}, "limits": {…}, "open": false,
"websocket": false}``, the last three left out at will; an open broker admits everyone to
everything. One line is printed: the port, and behind it that of MQTT over WebSocket if it is on.
"""

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from broker.embedded import EmbeddedBroker
from broker.limits import BrokerLimits
from broker.loop import run as run_loop
from broker.settings import BrokerSettings
from tests.brokers.memory_credentials import MemoryCredentials
from tests.conformance.open_auth import open_embedded


def made(wanted: Mapping[str, Any]) -> EmbeddedBroker:
    """Return the broker that was asked for."""
    limits = BrokerLimits(**wanted.get("limits", {}))
    ws_port = 0 if wanted.get("websocket") else None
    folder = Path(wanted["data_dir"])
    settings = BrokerSettings(port=0, ws_port=ws_port, data_dir=folder, limits=limits)
    if wanted.get("open"):
        return open_embedded(settings)
    return EmbeddedBroker(settings, MemoryCredentials(wanted["secrets"]))


async def serve(wanted: Mapping[str, Any]) -> None:
    broker = made(wanted)
    await broker.start()
    print(broker.port, *([broker.ws_port] if wanted.get("websocket") else []), flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await broker.stop()


if __name__ == "__main__":
    run_loop(serve(json.loads(Path(sys.argv[1]).read_text())))
