"""``python -m tests.bench.subscribe_qos``: subscriptions at QoS 0 beside QoS 1, taken in turns.

A reader that stands still is a peer process that is stopped while mail for it is published: what
it is sent then, how much of it arrives when it goes on, and how much a new subscription brings.
"""

import asyncio
import dataclasses
import signal
import sys
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

from client_sdk import entropy
from client_sdk.transport import mqtt
from client_sdk.wire.ids import DeviceAddress
from client_sdk.wire.limits import KIB, MAX_PADDED_CONTENT_BYTES
from tests.bench.bare import BareDevice
from tests.bench.counts import FULL, Counts
from tests.bench.report import show
from tests.bench.rows import Row
from tests.bench.system import device_login, running_server
from tests.bench.travel import measure_travel

COUNTS: Final = dataclasses.replace(FULL, one_way=2000, pings=200, rounds=1, newcomers=1)
SMALL_MESSAGES: Final = 3000
LARGE_MESSAGES: Final = 400
QUIET_SECONDS: Final = 2.0
TURNS: Final = 3


class Slow(NamedTuple):
    """What became of mail for a reader that stood still."""

    published: int
    size: int
    live: int
    after_subscribing: int


async def slow_reader(folder: Path, qos: int, published: int, size: int) -> Slow:
    """Publish to a reader that is stopped; let it go on; subscribe once more."""
    async with running_server(folder) as system:
        writer = await system.enroll("dora", "doctor")
        reader = await system.enroll("pat", "patient")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.bench.subscribe_qos", str(reader), str(qos)),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        await process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        async with BareDevice(await device_login(writer)) as device:
            payload = entropy.draw_bytes(size)
            for _ in range(published // 50):
                sends = (device.publish(DeviceAddress("pat-1"), payload) for _ in range(50))
                await asyncio.gather(*sends)
        process.send_signal(signal.SIGCONT)
        out, _ = await process.communicate()
        live, later = (int(word) for word in out.split())
        return Slow(published, size, live, later)


async def read_twice(store: Path) -> None:
    """Print ``ready``, then how many came live and how many in all after a new subscription."""
    async with BareDevice(await device_login(store)) as device:
        print("ready", flush=True)
        found: set[str] = set()
        counted = []
        for _ in range(2):
            size = -1
            while size < len(found) or not found:
                size = len(found)
                await _collect(device, found)
            counted.append(len(found))
            await device.subscribe()
        print(*counted, flush=True)


def _named(row: Row, prefix: str) -> Row:
    raw = None if row.raw is None else f"{prefix}: {row.raw}"
    return dataclasses.replace(
        row, key=f"{prefix}: {row.key}", title=f"{prefix}: {row.title}", raw=raw
    )


async def _collect(device: BareDevice, found: set[str]) -> None:
    try:
        async with asyncio.timeout(QUIET_SECONDS):
            async for incoming in device.incoming():
                found.add(incoming.topic)
    except TimeoutError:
        return


async def compare(counts: Counts) -> None:
    """Print the fate of mail for a slow reader, then the table of what travels."""
    for qos in (0, 1):
        mqtt.SUBSCRIBE_QOS = qos  # type: ignore[misc]
        for published, size in ((SMALL_MESSAGES, KIB), (LARGE_MESSAGES, MAX_PADDED_CONTENT_BYTES)):
            with tempfile.TemporaryDirectory(prefix="ratchetmq-bench-") as name:
                print(
                    f"QoS {qos}:", await slow_reader(Path(name), qos, published, size), flush=True
                )
    rows: list[Row] = []
    for turn in range(TURNS):
        for qos in (0, 1):
            mqtt.SUBSCRIBE_QOS = qos  # type: ignore[misc]
            with tempfile.TemporaryDirectory(prefix="ratchetmq-bench-") as name:
                measured = await measure_travel(counts, Path(name), qos)
            rows += [_named(row, f"QoS {qos}, turn {turn + 1}") for row in measured]
    show(rows)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        mqtt.SUBSCRIBE_QOS = int(sys.argv[2])  # type: ignore[misc]
        asyncio.run(read_twice(Path(sys.argv[1])))
    else:
        asyncio.run(compare(COUNTS))
