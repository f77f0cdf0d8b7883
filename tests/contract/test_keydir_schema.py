"""The migrations make what the code expects, on every database."""

from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect

from keydir.stores.migrate import HEAD, KNOWN, MIGRATIONS, migrate
from keydir.stores.schema import METADATA
from keydir.stores.server import PostgresServer
from tests.postgres import Postgres


def shapes(connection: Connection) -> dict[str, object]:
    seen = inspect(connection)
    return {
        table: (
            [
                (c["name"], str(c["type"]), getattr(c["type"], "collation", None), c["nullable"])
                for c in seen.get_columns(table)
            ],
            seen.get_pk_constraint(table)["constrained_columns"],
            sorted(str(index["column_names"]) for index in seen.get_indexes(table)),
        )
        for table in sorted(set(seen.get_table_names()) - {"alembic_version"})
    }


def test_the_program_knows_every_migration_and_the_newest() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    script = ScriptDirectory.from_config(config)
    assert script.get_current_head() == HEAD
    assert {one.revision for one in script.walk_revisions()} == KNOWN


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_migrations_make_exactly_the_tables_of_the_schema(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    found = []
    for name, make in (("plain", METADATA.create_all), ("migrated", migrate)):
        if kind == "sqlite":
            engine = create_engine(f"sqlite:///{tmp_path / name}.db")
            with engine.begin() as connection:
                make(connection)
                found.append(shapes(connection))
            engine.dispose()
            continue
        postgres: Postgres = request.getfixturevalue("postgres")
        server = PostgresServer(postgres.database())

        def work(server: PostgresServer = server, make: object = make) -> dict[str, object]:
            with server.begin() as connection:
                make(connection)  # type: ignore[operator]
                return shapes(connection)

        found.append(server.submit(work).result(timeout=60))
        server.close()
    assert found[0] == found[1]
    assert len(found[0]) == len(METADATA.tables)
