"""The directory's settings: from a file, from options, and what is refused."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from keydir.cli import app
from keydir.config import (
    MAX_SETTINGS_BYTES,
    ReplicaNameError,
    SettingsError,
    SettingsFileError,
    read_settings,
    settings_of,
)
from keydir.data import running_lock
from keydir.errors import DirectoryStoreError
from keydir.stores.database import DatabaseUrlError
from keydir.stores.server_credentials import open_credentials
from tests.unit.keydir.keydir_parties import BROKER_URL, DirectoryParty

URL = "postgresql://kd:secret@db.example:5432/ratchetmq"


def written(folder: Path, text: str) -> Path:
    file = folder / "directory.toml"
    file.write_text(text)
    return file


def test_a_file_has_the_names_of_the_settings_and_options_hold_instead(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        f'data_dir = "data"\ndatabase_url = "{URL}"\nbroker_urls = ["{BROKER_URL}"]\n'
        'policy = "open"\nreplica = "b2"\nshared_subscriptions = true\npoll_seconds = 2\n',
    )
    found = read_settings(file)
    assert (found.data_dir, found.database) == (tmp_path / "data", URL)
    assert (found.broker_urls, found.policy) == ((BROKER_URL,), "open")
    assert (found.login_name, found.shared_subscriptions, found.poll_seconds) == ("_kd-b2", True, 2)
    instead = read_settings(file, replica="c", database_url=None, data_dir=tmp_path / "other")
    assert (instead.login_name, instead.database) == ("_kd-c", URL)
    assert instead.data_dir == tmp_path / "other"
    assert settings_of(data_dir=tmp_path).login_name == "_kd"
    with pytest.raises(DatabaseUrlError, match="in a file"):
        _ = found.database_path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('data_dir = "d"\ndatabase = "x"\n', "database: Extra inputs are not permitted"),
        ("poll_seconds = 1\n", "data_dir: Field required"),
        ('data_dir = "d"\npoll_seconds = 0\n', "poll_seconds"),
        ("not toml", "not TOML"),
        ("\udcff", "not TOML"),
        ("#" + "x" * MAX_SETTINGS_BYTES, f"over {MAX_SETTINGS_BYTES} bytes"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "directory.toml"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(SettingsFileError, match=said) as caught:
        read_settings(file)
    assert "nothing was changed" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_largest_file_is_read(tmp_path: Path) -> None:
    line = 'data_dir = "d"\n'
    file = written(tmp_path, line + "#" + "x" * (MAX_SETTINGS_BYTES - len(line) - 1))
    assert read_settings(file).data_dir == tmp_path / "d"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsFileError, match="No such file"):
        read_settings(tmp_path / "none.toml")


@pytest.mark.parametrize("name", ["", "a" * 17, "A", "a-b", "_", "a/b", "ä"])
def test_a_replica_has_a_name_that_is_safe_in_a_login(tmp_path: Path, name: str) -> None:
    with pytest.raises(ReplicaNameError):
        settings_of(data_dir=tmp_path, replica=name)
    assert settings_of(data_dir=tmp_path, replica="a" * 16).login_name == "_kd-" + "a" * 16


def test_too_many_broker_addresses_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="broker_urls"):
        settings_of(data_dir=tmp_path, broker_urls=(BROKER_URL,) * 9)


def test_an_operator_invites_and_revokes_by_a_file(
    directory: DirectoryParty, tmp_path: Path
) -> None:
    file = written(tmp_path, f'data_dir = "data"\nbroker_urls = ["{BROKER_URL}"]\n')
    assert directory.settings.data_dir == tmp_path / "data"
    assert run("invite", "pat", "--role", "patient", "--config", str(file)).returncode == 0
    done = run("revoke", "pat", "--config", str(file))
    assert done.stderr == ""
    assert json.loads(done.stdout) == {"user": "pat", "devices": [], "invitation_withdrawn": True}
    file.write_text('data_dir = "data"\nport = 1883\n')
    done = run("revoke", "pat", "--config", str(file))
    assert (done.returncode, done.stdout) == (2, "")
    assert "port: Extra inputs are not permitted" in done.stderr


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    program = [sys.executable, "-c", "from keydir.cli import app; app()", *arguments]
    return subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("command", [["invite", "pat"], ["revoke", "pat"], ["keydir"]])
def test_a_command_without_a_place_says_what_to_give(command: list[str]) -> None:
    done = CliRunner().invoke(app, command)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--data" in done.stderr
    assert done.stderr.count("\n") == 1


def test_advice_is_what_the_command_can_follow(directory: DirectoryParty) -> None:
    data = directory.settings.data_dir
    with running_lock(data):
        done = run("keydir", "migrate", "--data", str(data), "--to", "postgresql://x@127.0.0.1:1/y")
    assert done.returncode == 1
    assert done.stderr.endswith("nothing was changed; stop it first\n")
    with pytest.raises(DirectoryStoreError, match=r"no directory's database at .*check --data"):
        open_credentials(f"sqlite:///{data}/nowhere/directory.db")


def test_a_directory_on_sqlite_loads_no_driver_of_a_server(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['asyncpg'] = sys.modules['greenlet'] = None\n"
        "from pathlib import Path\n"
        "from keydir.config import settings_of\n"
        "from keydir.prepare import prepare_directory\n"
        "import broker.program, keydir.service\n"
        "print(prepare_directory(settings_of(data_dir=Path(sys.argv[1]))).policy.roles)\n"
    )
    program = [sys.executable, "-c", code, str(tmp_path / "data")]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == ("('doctor', 'patient')\n", "")
