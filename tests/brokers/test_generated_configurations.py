"""What `ratchetmq config` writes is loaded by the real broker, and means what it says."""

import asyncio
import ssl
import stat
from pathlib import Path

import pytest

from broker.errors import BrokerProgramError, DataDirectoryError, UnsafeError
from broker.generate.deploy import write_deployment
from broker.settings import BrokerSettings
from broker.settings_sources import load_settings
from keydir.data import make_login
from tests.brokers.certificates import write_certificate
from tests.brokers.other_brokers import (
    deployed,
    free_ports,
    made_settings,
    running,
)
from tests.brokers.raw_client import RawClient
from tests.e2e.programs import run

CONFIGS = Path(__file__).parents[2] / "configs"


async def connack(port: int, login: str, password: str, client_id: str | None = None) -> int | None:
    client = await RawClient.open(port)
    code = await client.connect(client_id or login, login, password)
    await client.close()
    return code


async def test_mosquitto_loads_it_and_lets_in_who_the_directory_knows(tmp_path: Path) -> None:
    settings = made_settings("mosquitto", tmp_path / "data")
    (config,) = deployed(settings, tmp_path / "out")
    login = make_login(settings.data_dir)
    async with running(settings, config):
        assert await connack(settings.port, login.username, login.password) == 0
        assert await connack(settings.port, login.username, "wrong") == 5
        assert await connack(settings.port, "alice-1", login.password) == 5
        anonymous = await RawClient.open(settings.port)
        assert await anonymous.connect("x", "", "") == 5
        await anonymous.close()


@pytest.mark.parametrize("broker", ["mosquitto", "nats"])
async def test_the_ready_settings_are_loaded_with_a_certificate(
    broker: str, tmp_path: Path
) -> None:
    certificate, key = write_certificate(tmp_path / "tls")
    ready = load_settings(CONFIGS / broker / "settings.toml", {})
    port, nats_port, ws_port = free_ports(3)
    changed = {
        "data_dir": tmp_path / "data",
        "host": "127.0.0.1",
        "port": port,
        "nats_port": nats_port,
        "ws_port": ws_port if ready.ws_port is not None else None,
        "tls_cert": certificate,
        "tls_key": key,
        "tls_ca": None,
        "cluster_nodes": (),
        "database_url": None,
    }
    settings = ready.model_copy(update=changed)
    (config,) = deployed(settings, tmp_path / "out")
    context = ssl.create_default_context(cafile=certificate)
    async with running(settings, config):
        for listening in (port, *((ws_port,) if settings.ws_port is not None else ())):
            _, writer = await asyncio.open_connection(
                "127.0.0.1", listening, ssl=context, server_hostname="localhost"
            )
            assert writer.get_extra_info("ssl_object").version() in {"TLSv1.2", "TLSv1.3"}
            writer.close()


@pytest.mark.parametrize("broker", ["mosquitto", "nats"])
def test_the_files_are_for_their_owner_and_secrets_stay_when_made_again(
    broker: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ("config", broker, "--data", str(tmp_path / "data"), "--out", str(out), "--json")
    first = run(*arguments)
    assert first.code == 0, first.err
    before = {path.name: path.read_text() for path in out.iterdir()}
    assert {stat.S_IMODE(path.stat().st_mode) for path in out.iterdir()} == {0o600}
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    assert run(*arguments).code == 0
    assert {path.name: path.read_text() for path in out.iterdir()} == before
    assert first.row["files"] == [str(out / f"{broker}.conf")]


def test_the_command_refuses_what_is_unsafe_and_writes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(f'data_dir = "{tmp_path}/data"\nhost = "0.0.0.0"\nws_port = 8083\n')
    out = tmp_path / "out"
    refused = run("config", "mosquitto", "--config", str(file), "--out", str(out))
    assert refused.code == 2
    assert "no TLS" in refused.err
    assert "WebSocket" in refused.err
    assert not out.exists()
    assert not (tmp_path / "data").exists()
    assert run("config", "amqtt", "--data", str(tmp_path / "data"), "--out", str(out)).code == 2


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o1777])
def test_a_folder_that_others_write_to_is_refused(mode: int, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    out.chmod(mode)
    refused = run("config", "nats", "--data", str(tmp_path / "data"), "--out", str(out))
    assert refused.code == 2
    assert f"--out: {out} can be written to by others" in refused.err
    assert list(tmp_path.rglob("*")) == [out]


def test_a_folder_whose_name_ends_a_value_is_refused(tmp_path: Path) -> None:
    out = tmp_path / 'o"ut'
    refused = run("config", "nats", "--data", str(tmp_path / "data"), "--out", str(out))
    assert refused.code == 2
    assert "--out" in refused.err
    assert list(tmp_path.rglob("*")) == []


def test_a_certificate_that_others_can_read_is_refused(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path / "tls")
    key.chmod(0o644)
    settings = made_settings("nats", tmp_path / "data", tls_cert=certificate, tls_key=key)
    with pytest.raises(UnsafeError):
        write_deployment(settings, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_damaged_file_of_secrets_is_left_as_it_is(tmp_path: Path) -> None:
    settings = made_settings("nats", tmp_path / "data")
    deployed(settings, tmp_path / "out")
    secrets = tmp_path / "out" / "accounts.json"
    secrets.write_text("{}")
    with pytest.raises(DataDirectoryError):
        write_deployment(settings, tmp_path / "out")
    assert secrets.read_text() == "{}"


@pytest.mark.parametrize("broker", ["mosquitto", "nats"])
async def test_a_configuration_that_is_not_loaded_says_what_the_broker_said(
    broker: str, tmp_path: Path
) -> None:
    settings: BrokerSettings = made_settings(broker, tmp_path / "data")
    (config,) = deployed(settings, tmp_path / "out")
    config.write_text("nonsense 1\n")
    with pytest.raises(BrokerProgramError, match=r"nonsense|mosquitto\.conf:1"):
        async with running(settings, config):
            pass
