"""The engine relies on one version of amqtt and, of it, on these public names only."""

import ast
import importlib.metadata
import inspect
from pathlib import Path

import amqtt.broker
import pytest
from amqtt.broker import Broker
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.plugins.manager import PluginManager
from amqtt.session import Session

import broker
from broker.engine import Engine

PINNED = "0.12.1"
SOURCES = sorted(Path(broker.__path__[0]).glob("*.py"))


def test_the_pinned_version_is_installed() -> None:
    assert importlib.metadata.version("amqtt") == PINNED


def test_what_the_engine_overrides_and_calls_exists() -> None:
    connected = inspect.signature(Broker.stream_connected).parameters
    assert list(connected) == ["self", "reader", "writer", "listener_name"]
    login = inspect.signature(BrokerProtocolHandler.init_from_connect).parameters
    assert list(login)[:3] == ["reader", "writer", "plugins_manager"]
    assert list(inspect.signature(PluginManager.map_plugin_auth).parameters) == ["self", "session"]
    assert {
        "will_flag",
        "will_topic",
        "will_message",
        "will_qos",
        "will_retain",
        "attributes",
    } <= set(vars(Session()))


async def test_no_name_of_the_engine_hides_one_of_amqtt() -> None:
    overridden = {name for name in vars(Engine) if name in vars(Broker) and name[:2] != "__"}
    assert overridden == {"stream_connected"}
    class_names = {"mail", "routes", "connections", "_credentials", "_revision"}
    assert not class_names & (set(vars(Broker)) | set(vars(Broker({"plugins": {}}))))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_nothing_private_of_amqtt_is_imported(source: Path) -> None:
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("amqtt"):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            assert not any(name.startswith("_") for name in names)


def test_the_listener_of_amqtt_itself_is_never_opened() -> None:
    """An external listener opens no socket: every connection comes through ``stream_connected``."""
    assert "ExternalServer" in vars(amqtt.broker)
