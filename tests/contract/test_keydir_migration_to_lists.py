"""A directory's database of the first version gets the tables of device lists and links."""

import sqlite3
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from client_sdk.wire.ids import UserName
from keydir.stores.migrate import HEAD, MIGRATIONS
from keydir.stores.sql import SqlDirectoryStore


def test_the_newest_list_of_a_user_is_the_first_of_the_kept_ones(tmp_path: Path) -> None:
    path = tmp_path / "directory.db"
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    database = sqlite3.connect(path)
    database.execute("INSERT INTO users VALUES ('alice', 'patient', 'Alice', x'0102', NULL)")
    database.commit()
    database.close()
    store = SqlDirectoryStore(path)
    with store.transaction() as transaction:
        assert transaction.accounts.lists_after(UserName("alice"), 0, 9) == [b"\x01\x02"]
        assert transaction.accounts.lists_after(UserName("alice"), 1, 9) == []
    store.close()
    database = sqlite3.connect(path)
    assert database.execute("SELECT version_num FROM alembic_version").fetchone() == (HEAD,)
    database.close()
