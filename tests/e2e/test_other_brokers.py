"""Doctor and patient on Mosquitto and on NATS: the same programs, one command for the server."""

import asyncio
import signal
from pathlib import Path

import pytest

from client_sdk import Messenger
from keydir.commands import Invite, invite, revoke
from keydir.config import DirectorySettings
from keydir.data import read_broker_urls
from tests.brokers.other_brokers import free_ports, require_program
from tests.e2e.clinic import until
from tests.e2e.programs import Program, ratchetmq, run

BROKERS = ("mosquitto", "nats")
PATIENTLY = ("--timeout", "60")
PATIENCE = 90.0
"""For a command with all that it starts, on a busy machine."""


def settings_file(broker: str, folder: Path) -> Path:
    port, nats_port = free_ports(2)
    file = folder / "settings.toml"
    file.write_text(
        f'broker = "{broker}"\nbroker_program = "{require_program(broker)}"\n'
        f'data_dir = "{folder}/server"\nport = {port}\nnats_port = {nats_port}\n'
    )
    return file


def enrolled(folder: Path, user: str, role: str) -> Path:
    """Invite and enrol in this process because that is faster."""
    store = folder / f"{user}.db"
    invited = invite(DirectorySettings(data_dir=folder / "server"), Invite(user, role))
    asyncio.run(Messenger.enroll(invited.invitation, store))
    return store


def first_text(store: Path) -> object:
    """Return the first text that waits; NATS may hand it over only when it is asked again."""
    command = ("listen", "--store", str(store), "--count", "1", *PATIENTLY, "--json")
    return run(*command, seconds=PATIENCE).row["text"]


def child_of(pid: int) -> int:
    """Return the process that a server runs its broker in."""
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


@pytest.mark.parametrize("broker", BROKERS)
def test_doctor_and_patient_write_to_each_other_and_a_revoked_login_is_dropped(
    broker: str, tmp_path: Path
) -> None:
    file = settings_file(broker, tmp_path)
    with Program(ratchetmq("serve", "--config", str(file))) as server:
        assert server.row()["event"] == "ready"
        child = child_of(server.pid)
        house, ada = enrolled(tmp_path, "house", "doctor"), enrolled(tmp_path, "ada", "patient")
        sent = run("send", "--store", str(house), "ada", "while you are away")
        assert sent.code == 0, sent.err
        assert first_text(ada) == "while you are away"
        sent = run("send", "--store", str(ada), "house", "here again", *PATIENTLY, seconds=PATIENCE)
        assert sent.code == 0, sent.err
        assert first_text(house) == "here again"

        with Program(ratchetmq("listen", "--store", str(ada), "--json")) as listening:
            revoke(DirectorySettings(data_dir=tmp_path / "server"), "ada")
            until(lambda: "refused this login" in listening.errors, "ada is refused", PATIENCE)
            listening.end(signal.SIGTERM)
        ended = server.end()
        assert ended.code == 0
        assert "Traceback" not in ended.err
    assert not Path(f"/proc/{child}").exists()


@pytest.mark.parametrize("broker", BROKERS)
def test_a_server_that_is_killed_takes_its_broker_along(broker: str, tmp_path: Path) -> None:
    file = settings_file(broker, tmp_path)
    with Program(ratchetmq("serve", "--config", str(file))) as server:
        assert server.row()["event"] == "ready"
        child = Path(f"/proc/{child_of(server.pid)}")
        server.kill()
    until(lambda: not child.exists(), "the broker has ended")


def test_a_cluster_is_not_served_by_one_process(tmp_path: Path) -> None:
    file = settings_file("nats", tmp_path)
    nodes = '["127.0.0.1:1001", "127.0.0.1:1002", "127.0.0.1:1003"]'
    file.write_text(f"{file.read_text()}cluster_nodes = {nodes}\n")
    ended = run("serve", "--config", str(file))
    assert ended.code == 2
    assert "one process runs one broker" in ended.err
    assert not (tmp_path / "server").exists()


@pytest.mark.parametrize("broker", BROKERS)
def test_config_and_accounts_run_beside_a_broker_of_a_service_manager(
    broker: str, tmp_path: Path
) -> None:
    file, out = settings_file(broker, tmp_path), tmp_path / "out"
    made = run("config", broker, "--config", str(file), "--out", str(out), "--json")
    assert made.code == 0, made.err
    data = tmp_path / "server"
    (url,) = read_broker_urls(data)
    configuration = out / f"{broker}.conf"
    keeping = ("accounts", broker, "--config", str(file), "--out", str(out))
    directory = ("keydir", "--data", str(data), "--broker-url", url, "--json")
    with (
        Program([str(require_program(broker)), "-c", str(configuration)]),
        Program(ratchetmq(*keeping)) as accounts,
        Program(ratchetmq(*directory)) as keydir,
    ):
        assert accounts.row() == {"event": "ready"}
        assert keydir.row() == {"event": "ready"}
        enrolled(tmp_path, "house", "doctor")
        enrolled(tmp_path, "ada", "patient")
        assert accounts.end().code == 0
        assert keydir.end().code == 0
