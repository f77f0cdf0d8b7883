"""The other end of what travels: a process with a Messenger, or with a bare MQTT client.

Commands come as lines on stdin, answers go as JSON lines to stdout: ``open`` connects, ``count N``
tells when the Nth message from then on is there, ``echo`` sends every message back, ``close``
disconnects, ``quit`` ends. Times are of the system's monotonic clock, which all processes share.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

from client_sdk import Messenger
from client_sdk.transport import mqtt
from tests.bench.bare import BareDevice
from tests.bench.system import device_login

CONNECT_SECONDS = 20.0


class Tally:
    """What is to be done with what arrives."""

    def __init__(self) -> None:
        self.echo = False
        self._left = 0

    def expect(self, count: int) -> None:
        self.echo, self._left = False, count

    def took(self) -> None:
        if self._left:
            self._left -= 1
            if not self._left:
                say(done=time.monotonic_ns())


async def run_messenger(store: Path, tally: Tally) -> None:
    began = time.monotonic_ns()
    async with Messenger.open(store) as messenger, asyncio.TaskGroup() as group:
        group.create_task(_tell_connected(messenger, began))
        async for message in messenger.messages():
            if tally.echo:
                await messenger.send(message.sender, message.text)
            tally.took()


async def _tell_connected(messenger: Messenger, began: int) -> None:
    if await messenger.wait_connected(CONNECT_SECONDS):
        say(connected=began)


async def run_bare(store: Path, tally: Tally) -> None:
    began = time.monotonic_ns()
    async with BareDevice(await device_login(store)) as device, asyncio.TaskGroup() as group:
        say(connected=began)
        async for incoming in device.incoming():
            group.create_task(device.clear(incoming.topic))
            if tally.echo:
                group.create_task(device.publish(incoming.sender, incoming.payload))
            tally.took()


def say(**facts: int) -> None:
    print(json.dumps(facts), flush=True)


async def main(kind: str, store: Path, qos: int) -> None:
    mqtt.SUBSCRIBE_QOS = qos  # type: ignore[misc]
    run = {"messenger": run_messenger, "bare": run_bare}[kind]
    tally = Tally()
    task: asyncio.Task[None] | None = None
    while True:
        line = await asyncio.to_thread(sys.stdin.readline)
        command, _, argument = line.strip().partition(" ")
        match command:
            case "open":
                task = asyncio.create_task(run(store, tally))
            case "count":
                tally.expect(int(argument))
                say(ready=1)
            case "echo":
                tally.echo = True
                say(ready=1)
            case "close" | "quit" | "":
                if task is not None:
                    task.cancel()
                    await asyncio.wait({task})
                    task = None
                say(closed=1)
                if command != "close":
                    return


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
