"""The commands for a deployment of another broker: its configuration, and its accounts."""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from client_sdk.lines import write_line
from client_sdk.printing import Output, reported_errors
from client_sdk.wire.errors import MisuseError
from keydir.cli import Database

if TYPE_CHECKING:
    from broker.settings import BrokerSettings

app = typer.Typer()

Broker = Annotated[str, typer.Argument(help="mosquitto or nats.", metavar="mosquitto|nats")]
Data = Annotated[Path | None, typer.Option("--data", help="Keys, accounts and waiting mail.")]
Out = Annotated[Path, typer.Option("--out", help="The folder of the configuration.")]
Config = Annotated[
    Path | None, typer.Option("--config", help="Settings in TOML; flags count for more.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")]


@app.command()
def config(
    broker: Broker,
    *,
    data: Data = None,
    database: Database = None,
    out: Out,
    config: Config = None,
    json_lines: Json = False,
) -> None:
    """Write a whole configuration of Mosquitto or NATS from the one settings file.

    Written again, it is replaced; keys and passwords stay. What that broker cannot keep safely
    is refused.
    """
    with reported_errors():
        settings = _settings(config, broker=broker, data_dir=data, database_url=database)
        from broker.generate.deploy import write_deployment

        written = [str(path) for path in write_deployment(settings, out)]
        Output(json_lines=json_lines).say(
            {"event": "written", "broker": broker, "files": written},
            "\n".join([*written, "how to start it stands in its first lines"]),
        )


@app.command()
def accounts(
    broker: Broker,
    *,
    data: Data = None,
    database: Database = None,
    out: Out,
    config: Config = None,
    json_lines: Json = False,  # noqa: ARG001 - the ready line is JSON anyway
) -> None:
    """Keep the logins of a running Mosquitto or NATS those of the directory in --data."""
    with reported_errors():
        settings = _settings(config, broker=broker, data_dir=data, database_url=database)
        from broker.serve_other import run_accounts
        from client_sdk.signals import until_signalled

        async def run() -> None:
            ready = asyncio.Event()
            work = run_accounts(settings, out, ready)
            await until_signalled(work, ready, _say_ready, insist=False)

        asyncio.run(run())


def _say_ready() -> None:
    write_line(json.dumps({"event": "ready"}), "the accounts are no longer kept")


def _settings(config: Path | None, **flags: object) -> "BrokerSettings":
    if flags["broker"] not in {"mosquitto", "nats"}:
        raise MisuseError(
            f"{flags['broker']} is not a broker that is configured: name mosquitto or nats"
        )
    from broker.logs import configure_logging
    from broker.settings_sources import load_settings

    settings = load_settings(config, flags)
    configure_logging(settings.log_level, settings.log_format)
    return settings
