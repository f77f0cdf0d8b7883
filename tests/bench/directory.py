"""``python -m tests.bench.directory``: bundles a second of one to three directory processes.

A Mosquitto that lets everybody in carries requests of many devices, signed beforehand, over one
connection. Each database is filled by its own SQL with as many users as asked for; a thousand of
them, spread evenly, have real prekeys. Prints one JSON object a row.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection as SqlConnection
from sqlalchemy import text

from client_sdk.transport.mqtt import Login, MqttTransport
from client_sdk.transport.ports import Connection
from client_sdk.wire import topics
from client_sdk.wire.codec import encode
from client_sdk.wire.directory import SIGNED_REPLY, Action, FetchBundle, Status
from client_sdk.wire.ids import DeviceAddress
from keydir.stores.database import sqlite_file
from keydir.stores.server import PostgresServer
from keydir.stores.sql import writing_alone
from tests.bench.rows import quantile
from tests.conftest import _require_program as require_program
from tests.e2e.keydir_replicas import running_mosquitto
from tests.e2e.keydir_system import DirectoryProcess, System
from tests.postgres import running_postgres
from tests.unit.keydir.keydir_parties import DeviceParty, DirectoryParty

TARGETS: Final = 1000
KEYS_OF_ONE: Final = 40
ASKERS: Final = 64
WINDOW: Final = 64
"""Requests under way at one time when the rate is measured; one where the time is."""

ANSWER_SECONDS: Final = 60.0
DATABASES: Final = ("sqlite", "postgresql")

SERIES: Final = "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < :count)"
FILL: Final = (
    """INSERT INTO users ("user", role, name, device_list) {series}
    SELECT 'u' || n, u.role, u.name, u.device_list FROM s, users u WHERE u."user" = 'pattern'""",
    """INSERT INTO device_lists ("user", version, device_list) {series}
    SELECT 'u' || n, 1, u.device_list FROM s, users u WHERE u."user" = 'pattern'""",
    """INSERT INTO devices (address, "user", signing_key, last_counter, published_at) {series}
    SELECT 'u' || n || '-1', 'u' || n, d.signing_key, 0, d.published_at FROM s, devices d
    WHERE d.address = 'pattern-1'""",
    """INSERT INTO standing_prekeys (address, kind, key_id, signed_at, record) {series}
    SELECT 'u' || n || '-1', p.kind, p.key_id, p.signed_at, {record} FROM s, standing_prekeys p
    WHERE p.address = 'pattern-1'""",
    """INSERT INTO one_time_prekeys (address, kind, key_id, signed_at, record) {series}
    SELECT 'u' || n || '-1', p.kind, p.key_id, p.signed_at, {record} FROM s, one_time_prekeys p
    WHERE p.address = 'pattern-1' AND (n % :every = 0 OR p.key_id <= 2)""",
)


def fill(database: str, count: int) -> None:
    """Add users like the user ``pattern``; who is no target has short records and few keys."""
    path = sqlite_file(database)
    store = PostgresServer(database, statement_seconds=None) if path is None else None
    if store is None:
        assert path is not None
        with writing_alone(path) as connection:
            _fill(connection, count, "x'00'")
            connection.commit()
        return

    def work() -> None:
        with store.begin() as connection:
            _fill(connection, count, "'\\x00'::bytea")

    store.submit(work).result()
    store.close()


def _fill(connection: SqlConnection, count: int, short: str) -> None:
    every = max(1, count // TARGETS)
    record = f"CASE WHEN n % :every = 0 THEN p.record ELSE {short} END"
    for statement in FILL:
        filled = text(statement.format(series=SERIES, record=record))
        values = {"count": count, "every": every}
        names = filled.compile().params
        connection.execute(filled, {name: values[name] for name in names})
    connection.exec_driver_sql("ANALYZE")


class Gateway:
    """One connection for every device: publishes signed requests and takes the answers."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: dict[str, asyncio.Future[bytes]] = {}

    async def listen(self) -> None:
        async for message in self._connection.incoming():
            future = self._waiting.pop(message.topic, None)
            if future is not None:
                future.set_result(message.payload)

    async def ask(self, request: tuple[str, str, bytes]) -> int:
        """Return the ns from request to answer."""
        topic, awaited, payload = request
        future = self._waiting[awaited] = asyncio.get_running_loop().create_future()
        began = time.perf_counter_ns()
        await self._connection.publish(topic, payload)
        async with asyncio.timeout(ANSWER_SECONDS):
            reply = SIGNED_REPLY.decode(await future)
        if reply.status is not Status.OK:
            raise RuntimeError(f"a bundle was refused: {Status(reply.status).name}")
        return time.perf_counter_ns() - began


@asynccontextmanager
async def connected(system: System) -> AsyncIterator[Gateway]:
    async with MqttTransport([system.url], Login("gateway", "")).connect() as connection:
        await connection.subscribe("v1/u/+/kd/+")
        gateway = Gateway(connection)
        listening = asyncio.create_task(gateway.listen())
        try:
            yield gateway
        finally:
            listening.cancel()
            await asyncio.wait({listening})


def requests(
    askers: list[DeviceParty], users: int, start: int, count: int
) -> list[tuple[str, str, bytes]]:
    """Return signed requests, each device's in turn, for targets in turn."""
    every = max(1, users // TARGETS)
    made = []
    for number in range(start, start + count):
        target = DeviceAddress(f"u{(number * 7 % min(TARGETS, users) + 1) * every}-1")
        asker = askers[number % len(askers)]
        request = asker.request(Action.FETCH_BUNDLE, encode(FetchBundle(target)))
        place = (request.device, request.request_id)
        made.append((topics.request(*place), topics.reply(*place), encode(request)))
    return made


async def ask_all(gateway: Gateway, asked: list[tuple[str, str, bytes]], window: int) -> list[int]:
    left = iter(asked)
    times: list[int] = []

    async def one_by_one() -> None:
        for request in left:
            taken = await gateway.ask(request)
            times.append(taken)

    async with asyncio.TaskGroup() as group:
        for _ in range(window):
            group.create_task(one_by_one())
    return times


@dataclass(frozen=True)
class Scene:
    """A broker, and a database with so many users."""

    system: System
    database: str
    users: int
    count: int


async def measure(scene: Scene, askers: list[DeviceParty], replicas: int) -> dict[str, object]:
    """Return one row: the time of one bundle at a time, and the rate of many at once."""
    system, users, count = scene.system, scene.users, scene.count
    where = ("--data", str(system.settings.data_dir), "--database", scene.database)
    running = [
        await DirectoryProcess.start(system, *where, "--replica", f"r{number}")
        for number in range(replicas)
    ]
    try:
        async with connected(system) as gateway:
            await ask_all(gateway, requests(askers, users, 0, ASKERS), WINDOW)  # warm
            alone = await ask_all(gateway, requests(askers, users, 100, count // 4), 1)
            many = requests(askers, users, 100_000, count)
            began = time.perf_counter()
            await ask_all(gateway, many, WINDOW)
            rate = count / (time.perf_counter() - began)
    finally:
        for process in running:
            await process.end()
    return {
        "database": scene.database.partition(":")[0],
        "users": users,
        "replicas": replicas,
        "bundles_per_second": round(rate, 1),
        "p50_ms": round(quantile(alone, 0.5) / 1e6, 2),
        "p99_ms": round(quantile(alone, 0.99) / 1e6, 2),
    }


@contextmanager
def empty_database(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'directory.db'}"
        return
    with running_postgres(fsync=True) as server:
        yield server.database()


async def measure_kind(kind: str, users: int, most: int, count: int) -> None:
    with tempfile.TemporaryDirectory(prefix="ratchetmq-bench-") as name:
        folder = Path(name)
        with empty_database(kind, folder) as database:
            party = DirectoryParty(folder / "data", database=database)
            pattern = party.enrolled("pattern", "patient", prekeys=KEYS_OF_ONE)
            groups = [
                [party.enrolled(f"r{group}x{number}", "doctor") for number in range(ASKERS)]
                for group in range(most)
            ]
            began = time.perf_counter()
            fill(database, users)
            print(json.dumps({"filled_seconds": round(time.perf_counter() - began, 1)}), flush=True)
            assert pattern.address
            async with running_mosquitto(require_program("mosquitto"), folder) as broker:
                system = System(broker, party.settings)  # type: ignore[arg-type]
                scene = Scene(system, database, users, count)
                for replicas, askers in enumerate(groups, 1):
                    row = await measure(scene, askers, replicas)
                    print(json.dumps(row), flush=True)
            party.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.directory", description=__doc__)
    parser.add_argument("--users", type=int, nargs="+", default=[1000])
    parser.add_argument("--databases", nargs="+", choices=DATABASES, default=DATABASES)
    parser.add_argument("--replicas", type=int, default=3, help="measure with 1 to so many")
    parser.add_argument("--count", type=int, default=2000, help="bundles of one measurement")
    chosen = parser.parse_args()
    for users in chosen.users:
        for kind in chosen.databases:
            asyncio.run(measure_kind(kind, users, chosen.replicas, chosen.count))


if __name__ == "__main__":
    main()
