"""The commands of `ratchetmq`: the server's where they are installed, and the device's."""

import asyncio
import json
import logging
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final

import typer

from client_sdk.cli import app as device_app
from client_sdk.lines import write_line
from client_sdk.printing import reported_errors
from client_sdk.wire.errors import MisuseError

SERVER_PACKAGES: Final = ("amqtt", "sqlalchemy", "alembic", "pydantic_settings", "structlog")

Data = Annotated[Path, typer.Option("--data", help="Keys, accounts and waiting mail.")]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")]
Host = Annotated[str, typer.Option("--host", help="Where to listen; there is no TLS yet.")]
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


def _show_version(asked: bool) -> None:  # noqa: FBT001 - typer calls it so
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
    data: Data,
    port: Port = 1883,
    host: Host = "127.0.0.1",
    policy: Policy = None,
    json_lines: Json = False,  # noqa: ARG001 - the ready line is JSON anyway
) -> None:
    """Run broker and key directory in one process until SIGTERM or Ctrl-C."""
    from broker.serve import ServeSettings
    from broker.serve import serve as run

    with reported_errors():
        _log_to_stderr()
        asyncio.run(run(ServeSettings(data, _checked(host), port, policy), _say_ready))


@server_app.command()
def broker(
    *,
    data: Data,
    port: Port = 1883,
    host: Host = "127.0.0.1",
    json_lines: Json = False,  # noqa: ARG001 - the ready line is JSON anyway
) -> None:
    """Run the embedded broker alone; a key directory keeps its logins in the same folder."""
    from broker.serve import ServeSettings, serve_broker

    with reported_errors():
        _log_to_stderr()
        asyncio.run(serve_broker(ServeSettings(data, _checked(host), port), _say_ready))


@server_app.command()
def demo() -> None:
    """Take the tour: a server, a doctor and a patient on this machine, under 30 seconds."""
    from broker.demo import run_demo

    with reported_errors():
        asyncio.run(run_demo())


def _take_over_commands() -> None:
    if all(find_spec(name) is not None for name in SERVER_PACKAGES):
        from keydir.cli import app as directory_app

        app.registered_commands += server_app.registered_commands
        app.registered_commands += directory_app.registered_commands
        app.registered_groups += directory_app.registered_groups
    app.registered_commands += device_app.registered_commands


def _checked(host: str) -> str:
    if not host.strip():
        raise MisuseError("--host is empty; nothing was started; leave it out for 127.0.0.1")
    return host


def _say_ready(url: str) -> None:
    write_line(json.dumps({"event": "ready", "url": url}), "the server ends")


def _log_to_stderr() -> None:
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )


_take_over_commands()
