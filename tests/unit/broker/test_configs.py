"""The files in configs and the tables of docs/settings.md say what the code does."""

import configparser
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer.main
from pydantic import BaseModel
from typer.core import TyperGroup

from broker.generate.mosquitto import SERVICE_USER
from broker.limits import BrokerLimits
from broker.metrics import METRICS
from broker.program import app
from broker.settings import BrokerSettings
from broker.settings_sources import load_settings
from keydir.policy import read_policy

ROOT = Path(__file__).parents[3]
CONFIGS = ROOT / "configs"
EXAMPLE = CONFIGS / "broker.toml"
SYSTEMD = CONFIGS / "systemd"
UNIT = SYSTEMD / "ratchetmq.service"
DROP_IN = SYSTEMD / "ratchetmq-.service.d" / "service.conf"
POLICIES = ("clinic.toml", "open.toml")
PAGE = (ROOT / "docs" / "settings.md").read_text()

OFF = {
    "database_url",
    "ws_port",
    "tls_cert",
    "tls_key",
    "metrics_port",
    "policy",
    "broker_program",
    "tls_ca",
}


def test_every_file_in_configs_has_its_test() -> None:
    deployments = {"mosquitto", "nats"}  # see test_generate
    names = {file.name for file in CONFIGS.iterdir()}
    assert names == {EXAMPLE.name, SYSTEMD.name, *POLICIES, *deployments}


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_is_valid(name: str) -> None:
    assert read_policy(str(CONFIGS / name))


def test_the_example_as_it_stands_has_the_default_of_every_setting() -> None:
    found = load_settings(EXAMPLE, {})
    assert found == BrokerSettings(data_dir=Path("/var/lib/ratchetmq"))


def test_every_setting_stands_in_the_example_and_its_comments_are_the_defaults() -> None:
    text = re.sub(r"^# (\w+ = )", r"\1", EXAMPLE.read_text(), flags=re.MULTILINE)
    table = tomllib.loads(text)
    assert set(table) == set(BrokerSettings.model_fields)
    assert table.pop("limits") == BrokerLimits().model_dump()
    defaults = BrokerSettings(data_dir=Path(table["data_dir"])).model_dump(mode="json")
    assert {name: value for name, value in table.items() if name not in OFF} == {
        name: value for name, value in defaults.items() if name not in OFF | {"limits"}
    }
    assert {name for name in OFF if defaults[name] is not None} == set()


def unit(file: Path = UNIT) -> dict[str, list[str]]:
    """Return each key of [Service] with its values: a key may stand several times."""
    found: dict[str, list[str]] = {}
    section = file.read_text().partition("[Service]\n")[2].partition("\n[")[0]
    for line in section.splitlines():
        if line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def test_the_unit_is_made_of_sections_and_keys() -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read_string(UNIT.read_text())
    assert parser.sections() == ["Unit", "Service", "Install"]


@pytest.mark.parametrize("key", ["ExecStart", "ExecStartPre"])
def test_every_command_of_the_unit_is_one_that_the_program_takes(key: str) -> None:
    (line,) = unit()[key]
    program, *arguments = shlex.split(line)
    assert Path(program).name == "ratchetmq"
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    while arguments and arguments[0] in group.commands:
        command = group.commands[arguments.pop(0)]
        if not isinstance(command, TyperGroup):
            assert command.make_context("ratchetmq", arguments)
            return
        group = command
    pytest.fail(f"no command of the program: {line}")


def test_the_unit_gives_the_server_time_to_end_and_no_rights_beyond_its_folder() -> None:
    keys = unit()
    assert int(keys["TimeoutStopSec"][0]) > 5
    assert keys["Type"] == ["notify"]
    assert keys["Restart"] == ["on-failure"]
    for key in ("NoNewPrivileges", "MemoryDenyWriteExecute", "PrivateTmp", "ProtectHome"):
        assert keys[key] == ["yes"]
    assert keys["ProtectSystem"] == ["strict"]
    assert keys["CapabilityBoundingSet"] == [""]
    assert f"/var/lib/{keys['StateDirectory'][0]}" == str(load_settings(EXAMPLE, {}).data_dir)
    assert int(keys["LimitNOFILE"][0]) > BrokerLimits().max_connections


def test_the_other_units_have_no_more_rights_than_the_server() -> None:
    def rights(file: Path) -> dict[str, list[str]]:
        keys = unit(file)
        return dict(list(keys.items())[list(keys).index("StateDirectory") :])

    assert rights(DROP_IN) == rights(UNIT)
    assert unit(DROP_IN)["User"] == unit()["User"] == [SERVICE_USER]


def rows(heading: str) -> dict[str, str]:
    """Return first and second cell of each row of the table under a header row."""
    table = PAGE.partition(f"| {heading} |")[2].partition("\n\n")[0]
    found = re.findall(r"^\| `(\w+)` \| (.+?) \|", table, flags=re.MULTILINE)
    return dict(found)


def shown(model: type[BaseModel], values: dict[str, object]) -> dict[str, str]:
    special = {"data_dir": "–", "limits": "see below"}
    plain = {True: "true", False: "false"}

    def cell(name: str, value: object) -> str:
        if name in special:
            return special[name]
        if value is None:
            return "off"
        return f"`{plain[value] if isinstance(value, bool) else value}`"

    return {name: cell(name, values[name]) for name in model.model_fields}


def test_the_table_of_settings_has_every_setting_with_its_default() -> None:
    values = BrokerSettings(data_dir=Path("d")).model_dump(mode="json")
    assert rows("setting") == shown(BrokerSettings, values)


def test_the_table_of_limits_has_every_limit_with_its_default() -> None:
    assert rows("limit") == shown(BrokerLimits, BrokerLimits().model_dump())


def test_the_list_of_metrics_is_the_one_that_is_served() -> None:
    assert set(rows("metric")) == set(METRICS)
    assert len(METRICS) == len(set(METRICS))
