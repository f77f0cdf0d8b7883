"""Moving a directory from SQLite to PostgreSQL: everything arrives, or nothing was changed."""

import json
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select

from client_sdk.wire.directory import Status
from keydir import moving
from keydir.config import DirectorySettings
from keydir.data import running_lock
from keydir.errors import DataDirectoryError, DirectoryMoveError
from keydir.moving import move
from keydir.stores.database import DatabaseUrlError
from keydir.stores.opening import open_store
from keydir.stores.schema import CREDENTIALS, METADATA
from keydir.stores.server import PostgresServer
from keydir.stores.sql import SqlDirectoryStore
from tests.contract.keydir_stores import transaction
from tests.postgres import Postgres
from tests.unit.keydir.keydir_parties import DeviceParty, DirectoryParty

MANY = 40_000


@pytest.fixture
def directory(tmp_path: Path) -> tuple[DirectorySettings, DeviceParty, DeviceParty]:
    """A stopped directory of a patient with prekeys and a doctor who has fetched some."""
    party = DirectoryParty(tmp_path / "data")
    patient = party.enrolled("pat", "patient", prekeys=45)
    doctor = party.enrolled("dora", "doctor")
    for _ in range(3):
        party.bundle(doctor, patient)
    party.invited("zoe", "patient")
    party.close()
    return party.settings, patient, doctor


Directory = tuple[DirectorySettings, DeviceParty, DeviceParty]


def dump(settings: DirectorySettings) -> list[str]:
    connection = sqlite3.connect(settings.database_path)
    try:
        return list(connection.iterdump())
    finally:
        connection.close()


def is_empty(database: str) -> bool:
    """Tell whether no table, or none with a row in it, is there."""
    server = PostgresServer(database)

    def work() -> bool:
        with server.begin() as connection:
            found = connection.exec_driver_sql(
                "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
            )
            return found.scalar() == 0

    try:
        return server.submit(work).result(timeout=60)
    finally:
        server.close()


def test_a_moved_directory_goes_on_where_it_was(
    directory: Directory, postgres: Postgres, tmp_path: Path
) -> None:
    settings, patient, doctor = directory
    before, target = dump(settings), postgres.database()
    rows = move(settings, target)
    assert dump(settings) == before
    assert set(rows) == set(METADATA.tables)
    assert rows["one_time_prekeys"] == 2 * 42
    assert (rows["users"], rows["invitations"], rows["spent_prekeys"]) == (2, 1, 6)
    moved = DirectoryParty(tmp_path / "data", database=target)
    assert moved.bundle(doctor, patient).one_time_prekey.id == 4
    again = moved.enrolled("ben", "doctor")
    assert moved.fetch(again, patient).status is Status.OK
    moved.close()
    # Every row of every table is the same on both sides, but for what was just done.
    source = SqlDirectoryStore(settings.database_path)
    copied = open_store(postgres_copy(postgres, settings))
    with transaction(source) as left, transaction(copied) as right:
        for table in METADATA.sorted_tables:
            wanted = select(*table.c).order_by(*table.primary_key.columns)
            assert [*left.connection.execute(wanted).all()] == [
                *right.connection.execute(wanted).all()
            ]
    source.close()
    copied.close()


def postgres_copy(postgres: Postgres, settings: DirectorySettings) -> str:
    target = postgres.database()
    move(settings, target)
    return target


def test_a_target_with_a_row_is_refused_and_left_alone(
    directory: Directory, postgres: Postgres
) -> None:
    target = postgres.migrated()
    store = open_store(target)
    with transaction(store) as opened:
        opened.settings.put("name", "value")
    with pytest.raises(DirectoryMoveError, match="rows in settings; nothing was changed"):
        move(directory[0], target)
    with transaction(store) as opened:
        assert opened.settings.get("name") == "value"
        assert opened.accounts.roles_in_use() == frozenset()
    store.close()


def test_a_row_that_did_not_arrive_is_noticed(
    directory: Directory, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = iter([0] * len(METADATA.tables) + [1, 2])
    monkeypatch.setattr(moving, "_count", lambda *_: next(counts))
    target = postgres.database()
    with pytest.raises(DirectoryMoveError, match="not every row"):
        move(directory[0], target)
    assert is_empty(target)


def test_a_directory_that_runs_is_not_moved(directory: Directory, postgres: Postgres) -> None:
    settings, target = directory[0], postgres.database()
    for replica in (None, "a"):
        with running_lock(settings.data_dir, replica), pytest.raises(DataDirectoryError):
            move(settings, target)
    assert is_empty(target)


@pytest.mark.parametrize(
    ("source", "target"),
    [(None, "sqlite:///other.db"), ("postgresql://h/d", "postgresql://h/e")],
)
def test_only_a_file_is_moved_and_only_to_a_server(
    directory: Directory, source: str | None, target: str
) -> None:
    settings = directory[0].model_copy(update={"database_url": source})
    with pytest.raises(DatabaseUrlError, match="nothing was changed"):
        move(settings, target)


def test_an_older_file_is_brought_up_to_date_first(
    directory: Directory, postgres: Postgres
) -> None:
    connection = sqlite3.connect(directory[0].database_path)
    connection.execute("UPDATE alembic_version SET version_num = '0006'")
    connection.commit()
    connection.close()
    with pytest.raises(DirectoryMoveError, match="start the directory once"):
        move(directory[0], postgres.database())


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.long)]
)
def test_an_interrupted_move_leaves_the_target_empty(
    directory: Directory, postgres: Postgres, number: signal.Signals
) -> None:
    settings, target = directory[0], postgres.database()
    store = SqlDirectoryStore(settings.database_path)
    with store.transaction() as opened:
        rows = [{"login": f"many-{n}", "sha256": bytes(32)} for n in range(MANY)]
        opened.connection.execute(insert(CREDENTIALS), rows)
    store.close()
    before = dump(settings)
    program = [sys.executable, "-c", "from keydir.cli import app; app()"]
    where = ["keydir", "migrate", "--data", str(settings.data_dir), "--to", target]
    process = subprocess.Popen([*program, *where], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    name = target.rpartition("/")[2]
    activity = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}'"
    copying = f"{activity} AND query LIKE 'INSERT%'"
    while postgres.sql(copying) == "0":
        assert process.poll() is None, "it ended before it was interrupted"
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode != 0
    while postgres.sql(activity) != "0":
        pass
    assert is_empty(target)
    assert dump(settings) == before
    done = subprocess.run(
        [*program, *where, "--json"], capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(done.stdout)["rows"]["credentials"] >= MANY


def test_rows_are_counted_on_the_target(directory: Directory, postgres: Postgres) -> None:
    target = postgres.database()
    rows = move(directory[0], target)
    store = open_store(target)
    with transaction(store) as opened:
        for table in METADATA.sorted_tables:
            counted = opened.connection.execute(select(func.count()).select_from(table)).scalar()
            assert counted == rows[table.name]
    store.close()
