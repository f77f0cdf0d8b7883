"""The directory's commands; the program ``ratchetmq`` takes them over."""

import asyncio
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from client_sdk.lines import write_line
from client_sdk.printing import reported_errors
from client_sdk.signals import until_signalled
from client_sdk.wire.errors import MisuseError

if TYPE_CHECKING:
    from keydir.config import DirectorySettings
    from keydir.records import Purpose

app = typer.Typer(no_args_is_help=True, add_completion=False)

Data = Annotated[Path, typer.Option("--data", help="The server's data directory.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")]
Database = Annotated[str | None, typer.Option("--database", help="sqlite:///FILE, if elsewhere.")]
BrokerUrls = Annotated[
    list[str] | None,
    typer.Option("--broker-url", help="mqtt(s)://host:port or ws(s)://…; may be repeated."),
]


NOT_SHOWN: Final = "the invitation was made and could not be shown; invite again"


@app.command()
def invite(
    user: Annotated[str, typer.Argument(help="The new user's name.")],
    *,
    data: Data,
    role: Annotated[str | None, typer.Option(help="A role of the policy.")] = None,
    name: Annotated[str | None, typer.Option(help="The name that contacts are shown.")] = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="An account that exists: new account key and device.")
    ] = False,
    recover: Annotated[
        bool,
        typer.Option("--recover", help="An account that exists: new device, by recovery code."),
    ] = False,
    broker_url: BrokerUrls = None,
    database: Database = None,
    json_lines: Json = False,
) -> None:
    """Make one invitation: a line that enrols one device within 72 hours.

    Who has an account already needs --recover (with the recovery code; contacts notice nothing)
    or --reset (a new identity, every contact is told). Either suspends all earlier devices of the
    user when the line is redeemed.
    """
    from keydir import commands
    from keydir.config import DirectorySettings

    with reported_errors():
        settings = DirectorySettings(data_dir=data, database_url=database)
        purpose = _purpose(reset=reset, recover=recover)
        wanted = commands.Invite(user, role, name, tuple(broker_url or ()), purpose)
        invited = commands.invite(settings, wanted)
        shown = {
            "user": invited.user,
            "role": invited.role,
            "invitation": invited.invitation,
            "expires_at": invited.expires_at,
        }
        write_line(json.dumps(shown) if json_lines else invited.invitation, NOT_SHOWN)


@app.command()
def revoke(
    target: Annotated[str, typer.Argument(metavar="USER[-DEVICE]")],
    *,
    data: Data,
    database: Database = None,
    json_lines: Json = False,
) -> None:
    """Refuse the login of a user or device, drop its connection, sweep its waiting mail."""
    from keydir import commands
    from keydir.config import DirectorySettings

    with reported_errors():
        settings = DirectorySettings(data_dir=data, database_url=database)
        revoked = commands.revoke(settings, target)
        shown = {
            "user": revoked.user,
            "devices": list(revoked.devices),
            "invitation_withdrawn": revoked.invitation_withdrawn,
        }
        taken = ", ".join(revoked.devices) or f"the invitation of {revoked.user}"
        write_line(json.dumps(shown) if json_lines else f"revoked: {taken}", f"revoked: {taken}")


@app.command()
def keydir(
    *,
    broker_url: BrokerUrls = None,
    database: Database = None,
    data: Annotated[Path | None, typer.Option("--data", help="Folder of keys and login.")] = None,
    policy: Annotated[
        str | None, typer.Option(help="clinic, open or a TOML file; kept from then on.")
    ] = None,
    json_lines: Json = False,
) -> None:
    """Run the key directory alone against a broker; its login is made in the data folder."""
    from keydir.config import DirectorySettings, database_path

    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    with reported_errors():
        if data is None and database is None:
            raise MisuseError("where is its state? give --data DIR or --database URL")
        folder = data or database_path(database or "").parent
        settings = DirectorySettings(
            data_dir=folder,
            broker_urls=tuple(broker_url or ()),
            database_url=database,
            policy=policy,
        )
        asyncio.run(_run(settings, lambda: _say_ready(json_lines=json_lines)))


def _purpose(*, reset: bool, recover: bool) -> "Purpose":
    from keydir.records import Purpose

    if reset and recover:
        raise MisuseError("give either --reset or --recover; nothing was changed")
    return Purpose.RESET if reset else Purpose.RECOVER if recover else Purpose.NEW


async def _run(settings: "DirectorySettings", ready: Callable[[], None]) -> None:
    from keydir import commands

    answering = asyncio.Event()
    await until_signalled(commands.run_directory(settings, answering.set), answering, ready)


def _say_ready(*, json_lines: bool) -> None:
    write_line(json.dumps({"event": "ready"}) if json_lines else "ready", "the directory ends")
