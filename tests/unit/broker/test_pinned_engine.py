"""The engine relies on one version of amqtt and, of it, on these public names only."""

import ast
import importlib.metadata
import inspect
from pathlib import Path

import amqtt.broker
import pytest
from amqtt.broker import Broker
from amqtt.plugins.manager import PluginManager
from amqtt.session import Session

import broker
from broker.access import TopicTable
from broker.embedded import AUTH_PLUGIN
from broker.engine import Engine
from broker.limits import BrokerLimits
from broker.retained import WaitingMail
from broker.statistics import Statistics
from tests.brokers.memory_credentials import MemoryCredentials

PINNED = "0.12.1"
SOURCES = sorted(Path(broker.__path__[0]).glob("*.py"))


def test_the_pinned_version_is_installed() -> None:
    assert importlib.metadata.version("amqtt") == PINNED


def test_what_the_engine_overrides_and_calls_exists() -> None:
    assert list(inspect.signature(PluginManager.map_plugin_auth).parameters) == ["self", "session"]
    assert {
        "attributes",
        "clean_session",
        "client_id",
        "keep_alive",
        "password",
        "remote_address",
        "ssl_object",
        "username",
    } <= set(vars(Session())) | set(vars(Session))


async def test_no_name_of_the_engine_hides_one_of_amqtt(tmp_path: Path) -> None:
    plain = Broker({"plugins": {}})
    of_amqtt = set(vars(Broker)) | set(vars(plain))
    mail = WaitingMail(tmp_path, BrokerLimits(), Statistics())
    ours = Engine(MemoryCredentials(), mail, BrokerLimits(), TopicTable(), AUTH_PLUGIN)
    own = set(vars(Engine)) | (set(vars(ours)) - set(vars(plain)))
    assert {name for name in own & of_amqtt if name[:2] != "__"} == set()


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_nothing_private_of_amqtt_is_imported(source: Path) -> None:
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("amqtt"):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            assert not any(name.startswith("_") for name in names)


def test_the_listener_of_amqtt_itself_is_never_opened() -> None:
    """An external listener opens no socket: every connection comes through ``Engine.new_link``."""
    assert "ExternalServer" in vars(amqtt.broker)
