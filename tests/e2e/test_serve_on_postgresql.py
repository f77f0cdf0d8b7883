"""`ratchetmq serve` with the accounts on a PostgreSQL server: nothing of them is in its folder."""

import asyncio
from pathlib import Path

from client_sdk import Messenger
from tests.e2e.programs import Program, ratchetmq, run
from tests.postgres import Postgres


def test_a_server_finds_accounts_where_it_is_told(tmp_path: Path, postgres: Postgres) -> None:
    database = ("--database", postgres.database())
    data = ("--data", str(tmp_path / "server"))
    with Program(ratchetmq("serve", *data, *database, "--port", "0")) as server:
        assert server.row()["event"] == "ready"
        invited = run("invite", "house", "--role", "doctor", *data, *database)
        assert invited.code == 0, invited.err
        asyncio.run(Messenger.enroll(invited.out.strip(), tmp_path / "house.db"))
        ended = server.end()
    assert (ended.code, ended.err) == (0, "")
    assert not (tmp_path / "server" / "directory.db").exists()
