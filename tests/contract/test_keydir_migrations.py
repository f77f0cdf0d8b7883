"""A directory's database of an earlier version is brought up to date with what it holds."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

from client_sdk.wire.ids import InvitationId
from keydir.records import Purpose
from keydir.stores.migrate import MIGRATIONS
from keydir.stores.sql import SqlDirectoryStore


def test_an_invitation_of_version_1_is_for_a_new_account(tmp_path: Path) -> None:
    path = tmp_path / "directory.db"
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(
            text(
                "INSERT INTO invitations (invitation_id, user, role, name, expires_at)"
                " VALUES (:id, 'alice', 'patient', 'Alice', 7)"
            ),
            {"id": "a" * 26},
        )
    engine.dispose()
    store = SqlDirectoryStore(path)
    with store.transaction() as transaction:
        row = transaction.invitations.find(InvitationId("a" * 26))
    store.close()
    assert row is not None
    assert (row.user, row.expires_at, row.purpose) == ("alice", 7, Purpose.NEW)
