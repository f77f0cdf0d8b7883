"""amqtt as shipped, in a process of its own: the control of what is killed.

``python -m tests.brokers.plain_process FILE``, as ``tests.brokers.broker_process``.
"""

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.brokers.plain_amqtt import plain_amqtt, port_of


async def serve(wanted: Mapping[str, Any]) -> None:
    async with plain_amqtt(wanted["secrets"], 0.0) as broker:
        print(port_of(broker), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(json.loads(Path(sys.argv[1]).read_text())))
