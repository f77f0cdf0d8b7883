"""``make fuzz-broker``: malformed packets against a broker process, and a client beside them.

The seed is printed; ``--seed N`` sends the same packets again. A broker that ended, that said what
no client should make it say, that grew or that answers its other client no more is a finding.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.brokers.frame_mutator import FrameMutator
from tests.brokers.names import BOB, MALLORY
from tests.brokers.packet_mutator import Mutator
from tests.brokers.process import BrokerProcess, broker_process, write_wanted
from tests.brokers.process_memory import open_files, resident_bytes
from tests.conformance.client import Client, Clients
from tests.conformance.packets import Hello

MODES: Final = ("devices", "everyone", "websocket")
"""The shipped rules with device logins, a broker that admits everyone to everything, and the
shipped rules again behind frames of WebSocket."""

PACKETS: Final = 100_000
AT_ONCE: Final = 8
MAX_GROWTH_BYTES: Final = 50 * 1024 * 1024
END_SECONDS: Final = 20.0
_PROBE = "alice-1"
_FUZZING = (MALLORY, BOB, "carol-1", "dave-1", "erin-1", "_kd")
NONSENSE: Final = b"\x00\x00"
"""No packet: a server that is still listening closes at it."""

SECRETS: Final = {name: f"secret of {name}" for name in (*_FUZZING, _PROBE)}

_LIMITS = {"login_failures": 1_000_000, "max_sessions": 50, "max_queue_messages": 100}


@dataclass(frozen=True)
class Findings:
    """What one run sent, what the broker became, and what is wrong with that."""

    packets: int
    bent: int
    grown_bytes: int
    wrong: tuple[str, ...]


def logins(mode: str) -> list[Hello]:
    """Return the CONNECT packets that the broker of ``mode`` accepts."""
    if mode == "everyone":
        return [Hello("fuzz-1"), Hello("fuzz-2", clean=False), Hello("")]
    return [_device(name) for name in _FUZZING]


async def fuzz(mode: str, seed: int, count: int, folder: Path) -> Findings:
    """Send ``count`` bent packets among others, then look at the broker."""
    told = {"open": mode == "everyone", "websocket": mode == "websocket"}
    wanted = write_wanted(folder, mode, secrets=SECRETS, limits=_LIMITS, **told)
    async with (
        broker_process("tests.brokers.broker_process", wanted) as running,
        Clients(running.port) as clients,
    ):
        probe = await clients.connect(_probe(mode))
        await probe.subscribe(_own_topic(mode), qos=1)
        mutator, frames = Mutator(seed, logins(mode)), FrameMutator(seed)
        sent, wrong = 0, []
        before, files = 0, open_files(running.pid)
        while mutator.bent < count and not wrong:
            batch = [mutator.conversation() for _ in range(AT_ONCE)]
            streams = [b"".join(talk) + NONSENSE * (at % 2) for at, talk in enumerate(batch)]
            if running.ws_port is not None:
                streams = [frames.stream(stream) for stream in streams]
            wrong += await _converse(running, [mutator.cut(stream) for stream in streams])
            sent += sum(map(len, batch))
            before = before or (resident_bytes(running.pid) if mutator.bent > count // 5 else 0)
            if not wrong and not await _answers(probe, mode):
                wrong.append("the other client is answered no more")
        grown = resident_bytes(running.pid) - before if running.is_alive else 0
        wrong += _verdict(running, grown, open_files(running.pid) - files)
    return Findings(sent, mutator.bent, grown, tuple(wrong))


def _probe(mode: str) -> Hello:
    if mode == "everyone":
        return Hello("probe")
    return _device(_PROBE)


def _device(name: str) -> Hello:
    return Hello(name, username=name, password=SECRETS[name].encode())


def _own_topic(mode: str) -> str:
    return "probe/own" if mode == "everyone" else f"v1/u/{_PROBE}/probe/own"


async def _answers(probe: Client, mode: str) -> bool:
    """Tell whether the probe is answered, and sent what it publishes where it may."""
    try:
        await probe.ping()
        if mode == "everyone":
            await probe.publish(_own_topic(mode), b"mine", 1)
            return (await probe.messages(1))[0].payload == b"mine"
    except (TimeoutError, AssertionError, ConnectionError):
        return False
    return True


async def _converse(running: BrokerProcess, batch: list[list[bytes]]) -> list[str]:
    port = running.ws_port or running.port
    ended = await asyncio.gather(*(_talk(port, pieces) for pieces in batch))
    if not running.is_alive:
        return ["the broker ended"]
    shown = (b"".join(talk).hex() for talk, closed in zip(batch, ended, strict=True) if not closed)
    return [f"a connection was not closed after {found[:400]}" for found in shown]


async def _talk(port: int, pieces: list[bytes]) -> bool:
    """Write the pieces and the end of the stream; tell whether the server closed, too."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(END_SECONDS):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            writer.write_eof()
            while await reader.read(65_536):
                pass
    except TimeoutError:
        return False
    except OSError:
        return True
    finally:
        writer.transport.abort()
    return True


def _verdict(running: BrokerProcess, grown: int, more_files: int) -> list[str]:
    wrong = [f"it said: {line}" for line in running.complaints()[:3]]
    if not running.is_alive:
        wrong.append("the broker ended")
    if grown > MAX_GROWTH_BYTES:
        wrong.append(f"it grew by {grown} bytes")
    if more_files > 2 * AT_ONCE:
        wrong.append(f"it holds {more_files} files more")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz-broker", description=__doc__)
    parser.add_argument("--count", type=int, default=PACKETS, help="bent packets in all")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="the same, again")
    wanted = parser.parse_args()
    good = True
    for mode in MODES:
        print(f"{mode}: seed {wanted.seed}", flush=True)
        begun = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="ratchetmq-fuzz-") as folder:
            share = wanted.count // len(MODES)
            found = asyncio.run(fuzz(mode, wanted.seed, share, Path(folder)))
        seconds = time.monotonic() - begun
        print(f"  {found.packets} packets, {found.bent} of them bent, {seconds:.0f} s,")
        print(f"  resident memory {found.grown_bytes / 2**20:+.1f} MiB after the first fifth")
        for line in found.wrong:
            print(f"  found: {line}")
        good = good and not found.wrong
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
