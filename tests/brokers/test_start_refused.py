"""What keeps a server from starting: told clearly, with nothing made or changed."""

import hashlib
import json
import re
import socket
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from broker.check import check_settings
from broker.directory import directory_of
from broker.errors import DataDirectoryInUseError, PortInUseError, UnsafeError
from broker.generate.deploy import write_deployment
from broker.lock import hold
from broker.logins import read_logins
from broker.safety import Level, require_safe
from broker.serve import serve, serve_broker
from broker.serve_other import serve_other
from broker.settings import BrokerSettings
from keydir.config import DirectorySettings
from keydir.errors import PolicyError
from keydir.prepare import prepare_directory, transact
from tests.brokers.certificates import write_certificate
from tests.brokers.other_brokers import free_ports, require_program
from tests.e2e.clinic import picture
from tests.e2e.programs import Program, ratchetmq, run
from tests.postgres import Postgres

RUNS = (serve, serve_broker)
SILENT_SERVER = "postgresql://user@127.0.0.1:1/directory"
ANYWHERE = "0.0.0.0"


def never(_: object) -> None:
    pytest.fail("it said that it is ready")


async def refused(settings: BrokerSettings, error: type[Exception], words: str) -> None:
    """Check that both commands refuse, that the check says so, and that nothing changes."""
    parent = settings.data_dir.parent
    before = picture(parent), sorted(parent.rglob("*"))
    for command in RUNS:
        with pytest.raises(error, match=words):
            await command(settings, never)
    found = [one.text for one in check_settings(settings) if one.level is Level.REFUSED]
    assert any(re.search(words, text) for text in found), found
    assert (picture(parent), sorted(parent.rglob("*"))) == before


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """The data folder of a directory that was started before, with one login."""
    folder = tmp_path / "data"
    prepare_directory(DirectorySettings(data_dir=folder))
    put_login(folder, "ada-1", hashlib.sha256(b"secret").digest())
    return folder


def put_login(folder: Path, login: str, digest: bytes, expires_at: int | None = None) -> None:
    with sqlite3.connect(folder / "directory.db") as database:
        database.execute(
            "INSERT INTO credentials (login, sha256, expires_at) VALUES (?, ?, ?)",
            (login, digest, expires_at),
        )
    database.close()


async def test_a_server_beyond_loopback_without_tls_is_refused(served: Path) -> None:
    settings = BrokerSettings(data_dir=served, host=ANYWHERE, port=0)
    await refused(settings, UnsafeError, "beyond loopback and there is no TLS")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("foo bar", "not a broker address"),
        ("mqtt://chat.example", "beyond loopback and without TLS"),
    ],
)
async def test_an_address_that_invitations_must_not_name_is_refused(
    served: Path, url: str, words: str
) -> None:
    settings = BrokerSettings(data_dir=served, port=0, public_urls=(url,))
    await refused(settings, UnsafeError, f"public_urls: .*{words}")


def test_plaintext_beyond_loopback_is_taken_where_it_is_asked_for(served: Path) -> None:
    settings = BrokerSettings(data_dir=served, host=ANYWHERE, port=0, allow_plaintext=True)
    require_safe(settings)
    assert "allow_plaintext" in {found.setting for found in check_settings(settings)}


@pytest.mark.parametrize("kind", ["none", "own", "expired"])
async def test_an_empty_credential_store_beyond_loopback_is_refused(
    tmp_path: Path, kind: str
) -> None:
    folder = tmp_path / "data"
    if kind != "none":
        prepare_directory(DirectorySettings(data_dir=folder))
    if kind == "expired":
        put_login(folder, "ada-1", bytes([7]) * 32, expires_at=1)
    settings = BrokerSettings(data_dir=folder, host=ANYWHERE, port=0, allow_plaintext=True)
    await refused(settings, UnsafeError, "nobody could log in")


@pytest.mark.parametrize("url", ["mysql://user@127.0.0.1/directory", SILENT_SERVER])
def test_a_database_that_cannot_be_used_is_named_by_a_check(tmp_path: Path, url: str) -> None:
    settings = BrokerSettings(data_dir=tmp_path, port=0, database_url=url)
    refused = [one.setting for one in check_settings(settings) if one.level is Level.REFUSED]
    assert refused == ["database_url"]


def test_logins_on_a_database_server_count_and_an_empty_one_has_none(
    tmp_path: Path, postgres: Postgres
) -> None:
    settings = BrokerSettings(
        data_dir=tmp_path, host=ANYWHERE, allow_plaintext=True, database_url=postgres.database()
    )
    with pytest.raises(UnsafeError, match="nobody could log in"):
        require_safe(settings)
    prepare_directory(directory_of(settings))
    with pytest.raises(UnsafeError, match="nobody could log in"):
        require_safe(settings)
    transact(
        directory_of(settings).database,
        lambda transaction: transaction.logins.put("ada-1", bytes([7]) * 32, None),
    )
    require_safe(settings)


@pytest.mark.parametrize(
    ("login", "digest"),
    [
        ("", bytes([7]) * 32),
        ("  ", bytes([7]) * 32),
        ("bob-1", b""),
        ("bob-1", bytes([7]) * 31),
        ("bob-1", bytes(32)),
        ("bob-1", hashlib.sha256(b"").digest()),
    ],
)
async def test_a41_a_login_without_name_or_password_is_refused(
    served: Path, login: str, digest: bytes
) -> None:
    put_login(served, login, digest)
    assert read_logins(f"sqlite:///{served}/directory.db").blank == 1
    await refused(
        BrokerSettings(data_dir=served, port=0), UnsafeError, "without a name or password"
    )


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
@pytest.mark.parametrize("name", ["directory.keys", "directory.login"])
async def test_keys_that_others_can_read_or_write_are_refused(
    served: Path, name: str, mode: int
) -> None:
    (served / name).chmod(mode)
    await refused(BrokerSettings(data_dir=served, port=0), UnsafeError, name)


def with_tls(folder: Path, **times: timedelta) -> BrokerSettings:
    cert, key = write_certificate(folder.parent / "tls", **times)
    return BrokerSettings(data_dir=folder, port=0, tls_cert=cert, tls_key=key)


async def test_a_tls_key_that_others_can_read_is_refused(served: Path) -> None:
    settings = with_tls(served)
    require_safe(settings)
    assert settings.tls_key is not None
    settings.tls_key.chmod(0o640)  # a group for keys of TLS is what packages make
    require_safe(settings)
    settings.tls_key.chmod(0o644)
    await refused(settings, UnsafeError, "is open to every user")


async def test_a_certificate_with_another_key_is_refused(served: Path, tmp_path: Path) -> None:
    settings = with_tls(served)
    _, other = write_certificate(tmp_path / "other")
    mixed = settings.model_copy(update={"tls_key": other})
    await refused(mixed, UnsafeError, "is not the private key of")


@pytest.mark.parametrize("name", ["tls_cert", "tls_key"])
async def test_a_tls_file_that_is_missing_is_refused(served: Path, name: str) -> None:
    settings = with_tls(served).model_copy(update={name: served / "nowhere"})
    await refused(settings, UnsafeError, "cannot be read")


async def test_an_expired_certificate_is_refused(served: Path) -> None:
    await refused(with_tls(served, ends=timedelta(0)), UnsafeError, "expired on")


@pytest.mark.parametrize(("days", "unwise"), [(29, {"tls_cert"}), (31, set())])
def test_a_certificate_that_expires_within_thirty_days_is_unwise(
    served: Path, days: int, unwise: set[str]
) -> None:
    settings = with_tls(served, ends=timedelta(days=days))
    require_safe(settings)
    found = {one.setting for one in check_settings(settings) if one.level is Level.UNWISE}
    assert found & {"tls_cert"} == unwise


async def test_a_port_in_use_leaves_no_new_folder(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for name in ("port", "ws_port", "metrics_port"):
            ports = {"port": 0, name: port}
            settings = BrokerSettings(data_dir=tmp_path / "data", **ports)
            await refused(settings, PortInUseError, "in use")


@pytest.mark.parametrize("broker", ["embedded", "mosquitto", "nats"])
async def test_a_port_or_policy_that_is_refused_leaves_no_new_folder(
    broker: str, tmp_path: Path
) -> None:
    program = None if broker == "embedded" else require_program(broker)
    start = serve if broker == "embedded" else serve_other
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("roles = [")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        given = {"data_dir": tmp_path / "data", "broker": broker, "broker_program": program}
        port, free = taken.getsockname()[1], free_ports(1)[0]
        with pytest.raises(PortInUseError):
            await start(BrokerSettings.model_validate({**given, "port": port}), never)
        for policy in ("nosuch", str(wrong)):
            refused = BrokerSettings.model_validate({**given, "port": free, "policy": policy})
            with pytest.raises(PolicyError, match="nothing was"):
                await start(refused, never)
            if broker != "embedded":
                with pytest.raises(PolicyError, match="nothing was"):
                    write_deployment(refused, tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == [wrong]  # noqa: ASYNC240


async def test_keys_and_database_are_only_used_together(served: Path) -> None:
    settings = BrokerSettings(data_dir=served, port=0)
    keys, database = served / "directory.keys", served / "directory.db"
    for missing in (keys, database):
        aside = missing.rename(served / "aside")
        await refused(settings, UnsafeError, f"{missing.name} is (missing|not)")
        aside.rename(missing)
    require_safe(settings)


async def test_a_data_directory_in_use_is_refused_whatever_the_port(served: Path) -> None:
    with hold(served):
        await refused(BrokerSettings(data_dir=served, port=0), DataDirectoryInUseError, "in use by")


@pytest.mark.parametrize("holder", ["serve", pytest.param("broker", marks=pytest.mark.long)])
def test_the_second_server_of_a_folder_names_the_first_and_kill_nine_frees_it(
    tmp_path: Path, holder: str
) -> None:
    where = ("--data", str(tmp_path / "data"), "--port", "0")
    with Program(ratchetmq(holder, *where)) as first:
        first.row()
        for command in ("serve", "broker"):
            ended = run(command, *where)
            assert (ended.code, ended.out) == (1, "")
            assert f"in use by process {first.pid}" in ended.err
        first.kill()
    with Program(ratchetmq("broker", *where)) as second:
        assert second.row()["event"] == "ready"
        assert second.end().code == 0


@pytest.mark.parametrize("holder", [1, 2])
def test_looking_who_runs_there_disturbs_nobody(tmp_path: Path, holder: int) -> None:
    from broker.lock import holder_of

    assert holder_of(tmp_path) is None
    for _ in range(holder):
        with hold(tmp_path):
            assert holder_of(tmp_path)
        assert holder_of(tmp_path) is None


def test_wrong_settings_end_a_command_with_two_and_one_line(tmp_path: Path) -> None:
    file = tmp_path / "broker.toml"
    file.write_text(f'data_dir = "{tmp_path / "d"}"\nallow_anonymous = true\n')
    for command in ("serve", "broker"):
        ended = run(command, "--config", str(file))
        assert (ended.code, ended.out) == (2, "")
        assert "line 2: allow_anonymous is no setting" in ended.err
        assert ended.err.count("\n") == 1
    assert not (tmp_path / "d").exists()


@pytest.fixture
def checked(tmp_path: Path) -> Callable[[str], tuple[int, list[dict[str, object]]]]:
    def check(text: str) -> tuple[int, list[dict[str, object]]]:
        file = tmp_path / "broker.toml"
        file.write_text(text)
        ended = run("broker", "check", str(file), "--json")
        assert ended.err == ""
        return ended.code, [json.loads(line) for line in ended.out.splitlines()]

    return check


def test_check_lists_every_fault_and_ends_with_one(
    checked: Callable[[str], tuple[int, list[dict[str, object]]]], tmp_path: Path
) -> None:
    code, rows = checked(f'data_dir = "{tmp_path / "d"}"\nprot = 1\n[limits]\nmax_filters = 3\n')
    assert code == 1
    assert {str(row.get("setting")) for row in rows[:-1]} == {"prot", "max_filters"}
    assert rows[-1] == {"event": "checked", "refused": 2, "unwise": 0}
    assert not (tmp_path / "d").exists()


def test_check_of_good_settings_ends_with_zero_and_makes_nothing(
    checked: Callable[[str], tuple[int, list[dict[str, object]]]], tmp_path: Path
) -> None:
    code, rows = checked(f'data_dir = "{tmp_path / "d"}"\nport = 0\nlog_level = "debug"\n')
    assert code == 0
    assert {"port", "log_level"} <= {str(row.get("setting")) for row in rows}
    assert {row["level"] for row in rows[:-1]} == {"unwise"}
    assert not (tmp_path / "d").exists()


def test_check_says_a_policy_that_is_none(
    checked: Callable[[str], tuple[int, list[dict[str, object]]]], tmp_path: Path
) -> None:
    code, rows = checked(f'data_dir = "{tmp_path / "d"}"\nport = 0\npolicy = "{tmp_path}/no"\n')
    assert code == 1
    assert "policy" in {row.get("setting") for row in rows}
