"""The commands of `ratchetmq`: the server's where they are installed, and the device's."""

import asyncio
import json
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from broker.loop import run as run_loop
from client_sdk.cli import app as device_app
from client_sdk.lines import write_line
from client_sdk.printing import EXIT_FAILED, Output, reported_errors
from client_sdk.wire.errors import MisuseError
from keydir.cli import Database, LogFormat, LogLevel

if TYPE_CHECKING:
    from broker.serve import Addresses
    from broker.settings import BrokerSettings

SERVER_PACKAGES: Final = (
    "alembic",
    "amqtt",
    "prometheus_client",
    "pydantic_settings",
    "sqlalchemy",
    "structlog",
    "websockets",
)

Config = Annotated[
    Path | None, typer.Option("--config", help="Settings in TOML; flags count for more.")
]
Data = Annotated[Path | None, typer.Option("--data", help="Keys, accounts and waiting mail.")]
Port = Annotated[
    int | None,
    typer.Option("--port", min=0, max=65535, help="0 takes a free one.", show_default="1883"),
]
WsPort = Annotated[
    int | None, typer.Option("--ws-port", min=0, max=65535, help="Also MQTT over WebSocket.")
]
Host = Annotated[
    str | None, typer.Option("--host", help="Where to listen.", show_default="127.0.0.1")
]
TlsCert = Annotated[Path | None, typer.Option("--tls-cert", help="Certificate chain, PEM.")]
TlsKey = Annotated[Path | None, typer.Option("--tls-key", help="Its private key, PEM.")]
AllowPlaintext = Annotated[
    bool, typer.Option("--allow-plaintext", help="Beyond loopback without TLS.")
]
MetricsPort = Annotated[
    int | None,
    typer.Option("--metrics-port", min=0, max=65535, help="Metrics and health on loopback."),
]
BrokerName = Annotated[
    str | None,
    typer.Option("--broker", help="embedded, mosquitto or nats.", show_default="embedded"),
]
Policy = Annotated[
    str | None, typer.Option("--policy", help="clinic, open or a TOML file; kept from then on.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Private messaging on your own server.",
)
server_app = typer.Typer()
broker_app = typer.Typer(add_completion=False)


def _show_version(asked: bool) -> None:
    if asked:
        with reported_errors():
            write_line(version("ratchetmq"), "nothing was changed")
        raise typer.Exit


@app.callback()
def options(
    *,
    version_asked: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Private messaging on your own server."""


@server_app.command()
def serve(
    *,
    config: Config = None,
    data: Data = None,
    database: Database = None,
    broker: BrokerName = None,
    port: Port = None,
    ws_port: WsPort = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    host: Host = None,
    allow_plaintext: AllowPlaintext = False,
    metrics_port: MetricsPort = None,
    policy: Policy = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    json_lines: Json = False,  # noqa: ARG001 - the ready line is JSON anyway
) -> None:
    """Run broker and key directory until SIGTERM or Ctrl-C, in one process or beside another's."""
    with reported_errors():
        flags = _listening(port, ws_port, host, metrics_port)
        flags |= _security(tls_cert, tls_key, allow_plaintext)
        flags |= {"policy": policy, "log_level": log_level, "log_format": log_format}
        flags |= {"broker": broker, "database_url": database}
        settings = _settings(config, data, flags)
        if settings.broker == "embedded":
            from broker.serve import serve as run
        else:
            from broker.serve_other import serve_other as run

        run_loop(run(settings, _say_ready))


@broker_app.callback(invoke_without_command=True)
def broker(
    context: typer.Context,
    *,
    config: Config = None,
    data: Data = None,
    database: Database = None,
    port: Port = None,
    ws_port: WsPort = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    host: Host = None,
    allow_plaintext: AllowPlaintext = False,
    metrics_port: MetricsPort = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    json_lines: Json = False,  # noqa: ARG001 - the ready line is JSON anyway
) -> None:
    """Run the embedded broker alone; a key directory keeps its logins in the same folder."""
    if context.invoked_subcommand is not None:
        return
    with reported_errors():
        flags = _listening(port, ws_port, host, metrics_port)
        flags |= _security(tls_cert, tls_key, allow_plaintext)
        flags |= {"log_level": log_level, "log_format": log_format}
        flags |= {"broker": "embedded", "database_url": database}
        settings = _settings(config, data, flags)
        from broker.serve import serve_broker

        run_loop(serve_broker(settings, _say_ready))


@broker_app.command()
def check(
    file: Annotated[Path, typer.Argument(help="The settings file.")],
    *,
    json_lines: Json = False,
) -> None:
    """Say what a start with this settings file would refuse, and what is unwise."""
    from broker.check import check_file
    from broker.safety import Level

    with reported_errors():
        found = check_file(file)
        output = Output(json_lines=json_lines)
        for level, setting, text in found:
            shown = {"level": level, "setting": setting, "text": text}
            output.say(
                dict(shown), f"{level:<8} {setting}: {text}" if setting else f"{level:<8} {text}"
            )
        refused = sum(one.level is Level.REFUSED for one in found)
        summary = {"event": "checked", "refused": refused, "unwise": len(found) - refused}
        output.say(dict(summary), f"{refused} refused, {len(found) - refused} unwise")
        if refused:
            raise typer.Exit(EXIT_FAILED)


@server_app.command()
def demo() -> None:
    """Take the tour: a server, a doctor and a patient on this machine, under 30 seconds."""
    from broker.demo import run_demo

    with reported_errors("interrupted; nothing is left running"):
        asyncio.run(run_demo())


def _take_over_commands() -> None:
    if all(find_spec(name) is not None for name in SERVER_PACKAGES):
        from broker.cli_certs import app as certs_app
        from broker.cli_deploy import app as deploy_app
        from keydir.cli import app as directory_app

        app.registered_commands += certs_app.registered_commands
        app.registered_commands += deploy_app.registered_commands
        app.registered_commands += server_app.registered_commands
        app.add_typer(broker_app, name="broker")
        app.registered_commands += directory_app.registered_commands
        app.registered_groups += directory_app.registered_groups
    app.registered_commands += device_app.registered_commands


def _listening(
    port: int | None, ws_port: int | None, host: str | None, metrics_port: int | None
) -> dict[str, object]:
    return {
        "port": port,
        "ws_port": ws_port,
        "host": None if host is None else _checked(host),
        "metrics_port": metrics_port,
    }


def _security(
    tls_cert: Path | None, tls_key: Path | None, allow_plaintext: bool
) -> dict[str, object]:
    return {"tls_cert": tls_cert, "tls_key": tls_key, "allow_plaintext": allow_plaintext or None}


def _settings(config: Path | None, data: Path | None, flags: dict[str, object]) -> "BrokerSettings":
    """Return the settings of this start; from here on logs go where they say."""
    from broker.logs import configure_logging
    from broker.settings_sources import load_settings

    settings = load_settings(config, {"data_dir": data, **flags})
    configure_logging(settings.log_level, settings.log_format)
    return settings


def _checked(host: str) -> str:
    if not host.strip():
        raise MisuseError("--host is empty; nothing was started; leave it out for 127.0.0.1")
    return host


def _say_ready(addresses: "Addresses") -> None:
    known = {"ws_url": addresses.ws_url, "metrics_url": addresses.metrics_url}
    shown = {name: url for name, url in known.items() if url is not None}
    line = json.dumps({"event": "ready", "url": addresses.url, **shown})
    write_line(line, "the server ends")


_take_over_commands()
