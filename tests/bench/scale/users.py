"""Users by the million: rows of the directory's tables, made in bulk.

Whoever is asked for is a device whose bundle holds in every signature. All others are copies of
one of them under names of their own: the same bytes in the same rows, but with one one-time prekey
of each kind, because full pools of a million users are 170 GB.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Table, bindparam, create_engine, delete, insert, text

from client_sdk.wire.codec import encode
from client_sdk.wire.ids import UserName
from client_sdk.wire.invitation import Invitation
from keydir.records import PrekeyKind
from keydir.stores.database import sqlite_file
from keydir.stores.schema import (
    ANSWERS,
    BUCKETS,
    DEVICE_LISTS,
    DEVICES,
    ONE_TIME_PREKEYS,
    SPENT_PREKEYS,
    STANDING_PREKEYS,
    USERS,
)
from keydir.stores.server import PostgresServer
from tests.unit.keydir.keydir_parties import DeviceParty

MAX_TARGETS: Final = 2000
"""Who is asked for, spread evenly over all users: most pages are read for the first time."""

POOL: Final = 32
"""One-time prekeys of a target: a run takes ten of them, and below 20 a device is told."""

FIRST: Final = 1_000_000
"""Users are counted from here, so that all names are of one length and sort by number."""

Rows = dict[Table, list[dict[str, Any]]]
OWNED: Final = (ONE_TIME_PREKEYS, STANDING_PREKEYS, DEVICES, DEVICE_LISTS, USERS)
"""Tables of what a user has, each before the one that it refers to."""

SERIES: Final = "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < :users)"
NAME: Final = f"'u' || ({FIRST} + n)"
COPIES: Final = (
    f"""INSERT INTO users ("user", role, name, device_list) {SERIES}
    SELECT {NAME}, u.role, u.name, u.device_list FROM s, users u
    WHERE u."user" = :pattern AND n % :every <> 0""",
    f"""INSERT INTO device_lists ("user", version, device_list) {SERIES}
    SELECT {NAME}, l.version, l.device_list FROM s, device_lists l
    WHERE l."user" = :pattern AND n % :every <> 0""",
    f"""INSERT INTO devices (address, "user", signing_key, last_counter, published_at) {SERIES}
    SELECT {NAME} || '-1', {NAME}, d.signing_key, 0, d.published_at FROM s, devices d
    WHERE d."user" = :pattern AND n % :every <> 0""",
    f"""INSERT INTO standing_prekeys (address, kind, key_id, signed_at, record) {SERIES}
    SELECT {NAME} || '-1', p.kind, p.key_id, p.signed_at, p.record FROM s, standing_prekeys p
    WHERE p.address = :pattern || '-1' AND n % :every <> 0""",
    f"""INSERT INTO one_time_prekeys (address, kind, key_id, signed_at, record) {SERIES}
    SELECT {NAME} || '-1', p.kind, p.key_id, p.signed_at, p.record FROM s, one_time_prekeys p
    WHERE p.address = :pattern || '-1' AND p.key_id = 1 AND n % :every <> 0""",
)


def target_count(users: int) -> int:
    """Return how many of so many users are asked for."""
    return min(users, MAX_TARGETS)


def target_names(users: int) -> list[UserName]:
    """Return whom to ask for."""
    every = users // target_count(users)
    return [UserName(f"u{FIRST + every * n}") for n in range(1, target_count(users) + 1)]


def party_named(invitation: Invitation, user: str) -> DeviceParty:
    """Return a device with new keys, of the directory that an invitation is from."""
    return DeviceParty(invitation._replace(user=UserName(user)))


def put(connection: Connection, parties: Sequence[DeviceParty], role: str, pool: int) -> None:
    """Write the rows of devices; what was there under their names is replaced."""
    rows = rows_of(parties, role, pool)
    for table in OWNED:
        column = "user" if "user" in table.c else "address"
        keys = [{"key": row[column]} for row in rows[DEVICES]]
        connection.execute(delete(table).where(table.c[column] == bindparam("key")), keys)
    for table in reversed(OWNED):
        if rows[table]:
            connection.execute(insert(table), rows[table])


def forget_use(connection: Connection) -> None:
    """Forget what earlier measurements asked for: limits, answers, and which keys were spent."""
    for table in (ANSWERS, BUCKETS, SPENT_PREKEYS):
        connection.execute(delete(table))


def copy(connection: Connection, users: int) -> None:
    """Add all users who are no targets, like the first of those, by one statement a table."""
    names = target_names(users)
    values = {"users": users, "every": users // len(names), "pattern": names[0]}
    for statement in COPIES:
        connection.execute(text(statement), values)


def in_bulk(database: str, work: Callable[[Connection], None]) -> None:
    """Run work in one transaction that a crash may leave in pieces, and nobody else is there."""
    path = sqlite_file(database)
    if path is not None:
        _in_file(path, work)
        return
    server = PostgresServer(database, statement_seconds=None)

    def run() -> None:
        with server.begin() as connection:
            # References are right as they are made; a million look-ups would say so.
            connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
            connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
            work(connection)

    try:
        server.submit(run).result()
    finally:
        server.close()


def rows_of(parties: Sequence[DeviceParty], role: str, pool: int) -> Rows:
    """Return the rows of devices as enrolment and an upload of ``pool`` prekeys leave them."""
    rows: Rows = {table: [] for table in OWNED}
    for party in parties:
        address, user = party.address, party.invitation.user
        batch = party.batch(1, pool, standing=pool > 0)
        device_list, now = encode(party.device_list), party.device_list.devices[0].added_at
        rows[USERS].append({"user": user, "role": role, "name": user, "device_list": device_list})
        rows[DEVICE_LISTS].append({"user": user, "version": 1, "device_list": device_list})
        rows[DEVICES].append(
            {
                "address": address,
                "user": user,
                "signing_key": party.signing_key,
                "last_counter": 0,
                "published_at": now,
            }
        )
        kinds: tuple[tuple[Table, PrekeyKind, Sequence[Any]], ...] = (
            (STANDING_PREKEYS, PrekeyKind.SIGNED, [batch.signed_prekey]),
            (STANDING_PREKEYS, PrekeyKind.LAST_RESORT, [batch.last_resort]),
            (ONE_TIME_PREKEYS, PrekeyKind.ONE_TIME, batch.one_time_prekeys),
            (ONE_TIME_PREKEYS, PrekeyKind.ONE_TIME_KEM, batch.kem_prekeys),
        )
        for table, kind, records in kinds:
            rows[table] += [
                {
                    "address": address,
                    "kind": kind,
                    "key_id": record.id,
                    "signed_at": now,
                    "record": encode(record),
                }
                for record in records
                if record is not None
            ]
    return rows


def _in_file(path: Path, work: Callable[[Connection], None]) -> None:
    engine = create_engine(f"sqlite:///{path}")
    try:
        with engine.connect() as connection:
            # A log of gigabytes would be written twice; the journal comes back with the program.
            for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -500000"):
                connection.exec_driver_sql(f"PRAGMA {pragma}")
            work(connection)
            connection.commit()
    finally:
        engine.dispose()
