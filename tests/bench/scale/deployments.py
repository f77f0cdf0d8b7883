"""The four servers that messages travel over, each as this program runs or configures it.

They take their turns on one data folder: the same logins, keys and devices on every broker.
"""

import json
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.brokers import nats
from tests.bench.brokers.workers import GoneError, running_process
from tests.bench.scale.cpu import Seconds, alone, children_of
from tests.bench.scale.processes import program, ratchetmq, ready, until_open
from tests.brokers.other_brokers import free_ports

TITLES: Final = {
    "embedded": "embedded",
    "mosquitto": "Mosquitto",
    "nats": "NATS",
    "nats-cluster": "NATS, cluster of three",
}
NODES: Final = 3


@dataclass(frozen=True)
class Deployment:
    """A running server.

    Attributes:
        urls: Where clients connect, spread evenly.
        parts: The clocks of its processes; the embedded broker is in the directory's.
    """

    urls: tuple[str, ...]
    parts: Mapping[str, Seconds]


@asynccontextmanager
async def deployed(name: str, folder: Path) -> AsyncIterator[Deployment]:
    """Run a server on the data of ``folder``, until left.

    Raises:
        GoneError: A program is not installed, or ended.
    """
    run = _cluster if name == "nats-cluster" else _serve
    async with run(name, folder) as deployment:
        yield deployment


@asynccontextmanager
async def _serve(name: str, folder: Path) -> AsyncIterator[Deployment]:
    port, nats_port = free_ports(2)
    file = _settings(name, folder, port, nats_port, "")
    command = ratchetmq("serve", "--config", file, "--json")
    async with running_process(command) as process:
        url = str((await ready(process))["url"])
        children = children_of(process.pid)
        server = alone(process.pid)
        if not children:
            yield Deployment((url,), {"broker + directory": server})
        else:
            yield Deployment((url,), {"broker": alone(*children), "directory": server})


@asynccontextmanager
async def _cluster(_: str, folder: Path) -> AsyncIterator[Deployment]:
    server = nats_program(folder)
    free = free_ports(2 * NODES)
    ports, routes = free[:NODES], [f'"127.0.0.1:{port}"' for port in free[NODES:]]
    urls = tuple(f"mqtt://127.0.0.1:{port}" for port in ports)
    out = folder / "cluster"
    async with AsyncExitStack() as stack:
        nodes = []
        for node, port in enumerate(ports):
            (nats_port,) = free_ports(1)
            more = f"cluster_nodes = [{', '.join(routes)}]\npublic_urls = {json.dumps(urls)}\n"
            file = _settings("nats", folder, port, nats_port, more)
            made = ratchetmq("config", "nats", "--config", file, "--out", out)
            async with running_process(made) as making:
                await making.communicate()
            # Each node has a machine of its own; on one, the next one's ports replace these.
            config, first = out / f"node-{node + 1}.conf", folder / f"settings-{node + 1}.toml"
            shutil.copy(out / f"nats-{node + 1}.conf", config)
            shutil.copy(file, first)
            running = running_process((server, "-c", str(config)), out / f"log-{node + 1}")
            nodes.append(await stack.enter_async_context(running))
        for port, node in zip(ports, nodes, strict=True):
            await until_open(port, node)
        beside = ("--config", folder / "settings-1.toml", "--out", out, "--json")
        accounts = await _started(stack, "accounts", "nats", *beside)
        reached = [part for url in urls for part in ("--broker-url", url)]
        directory = await _started(stack, "keydir", "--data", folder / "server", *reached, "--json")
        parts = {
            "broker": alone(*(node.pid for node in nodes)),
            "directory": alone(accounts, directory),
        }
        yield Deployment(urls, parts)


async def _started(stack: AsyncExitStack, *arguments: object) -> int:
    process = await stack.enter_async_context(running_process(ratchetmq(*arguments)))
    await ready(process)
    return process.pid


def nats_program(folder: Path) -> str:
    """Return nats-server, installed into the folder where it is not there.

    Raises:
        GoneError: It cannot be installed.
    """
    found, reason = nats.install(folder.absolute() / "programs")
    if found is None:
        raise GoneError(f"nats-server was not installed: {reason}")
    return str(found)


def _settings(name: str, folder: Path, port: int, nats_port: int, more: str) -> Path:
    file = folder / "settings.toml"
    lines = [f'broker = "{name}"', f'data_dir = "{folder}/server"', f"port = {port}"]
    if name == "mosquitto":
        lines.append(f'broker_program = "{program("mosquitto")}"')
    if name == "nats":
        lines += [f'broker_program = "{nats_program(folder)}"', f"nats_port = {nats_port}"]
    file.write_text("\n".join([*lines, more]))
    return file
