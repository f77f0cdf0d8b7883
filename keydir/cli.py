"""The directory's commands; the program ``ratchetmq`` takes them over."""

import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from client_sdk.lines import write_line
from client_sdk.printing import new_private_file, reported_errors
from client_sdk.signals import until_signalled
from client_sdk.wire.errors import MisuseError

if TYPE_CHECKING:
    from keydir.config import DirectorySettings
    from keydir.records import Purpose

app = typer.Typer(no_args_is_help=True, add_completion=False)
keydir_app = typer.Typer(add_completion=False)
app.add_typer(keydir_app, name="keydir")

Data = Annotated[Path | None, typer.Option("--data", help="The server's data directory.")]
Config = Annotated[
    Path | None, typer.Option("--config", help="A TOML file of the directory's settings instead.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")]
Database = Annotated[
    str | None,
    typer.Option("--database", help="sqlite:///FILE or postgresql://…, if it is elsewhere."),
]
BrokerUrls = Annotated[
    list[str] | None,
    typer.Option("--broker-url", help="mqtt(s)://host:port or ws(s)://…; may be repeated."),
]
LogLevel = Annotated[
    str | None,
    typer.Option("--log-level", help="debug, info, warning, error.", show_default="warning"),
]
LogFormat = Annotated[
    str | None, typer.Option("--log-format", help="text or json.", show_default="text")
]

NOT_SHOWN: Final = "the invitation was made and could not be shown; invite again"


@app.command()
def invite(
    user: Annotated[str, typer.Argument(help="The new user's name.")],
    *,
    data: Data = None,
    config: Config = None,
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
    out: Annotated[
        Path | None,
        typer.Option("--out", help="A new file for it, for you alone, in place of stdout."),
    ] = None,
    json_lines: Json = False,
) -> None:
    """Make one invitation: a line that enrols one device within 72 hours.

    It is as good as a login until it is used: send it over a channel that you trust.

    Who has an account already needs --recover (with the recovery code; contacts notice nothing)
    or --reset (a new identity, every contact is told). Either suspends all earlier devices of the
    user when the line is redeemed.
    """
    from keydir import commands

    with reported_errors():
        settings = _settings(data, config, database_url=database)
        purpose = _purpose(reset=reset, recover=recover)
        wanted = commands.Invite(user, role, name, tuple(broker_url or ()), purpose)
        with ExitStack() as stack:
            file = None if out is None else stack.enter_context(new_private_file(out))
            invited = commands.invite(settings, wanted)
            if file is not None:
                file.write(f"{invited.invitation}\n")
        shown = {
            "user": invited.user,
            "role": invited.role,
            **({"invitation": invited.invitation} if out is None else {"file": str(out)}),
            "expires_at": invited.expires_at,
        }
        if out is None:
            write_line(json.dumps(shown) if json_lines else invited.invitation, NOT_SHOWN)
        else:
            _say(shown, f"written: {out}", f"written: {out}", json_lines=json_lines)


@app.command()
def revoke(
    target: Annotated[str, typer.Argument(metavar="USER[-DEVICE]")],
    *,
    data: Data = None,
    config: Config = None,
    database: Database = None,
    json_lines: Json = False,
) -> None:
    """Refuse the login of a user or device, drop its connection, sweep its waiting mail."""
    from keydir import commands

    with reported_errors():
        settings = _settings(data, config, database_url=database)
        revoked = commands.revoke(settings, target)
        shown = {
            "user": revoked.user,
            "devices": list(revoked.devices),
            "invitation_withdrawn": revoked.invitation_withdrawn,
        }
        taken = ", ".join(revoked.devices) or f"the invitation of {revoked.user}"
        _say(shown, f"revoked: {taken}", f"revoked: {taken}", json_lines=json_lines)


@keydir_app.callback(invoke_without_command=True)
def keydir(
    context: typer.Context,
    *,
    broker_url: BrokerUrls = None,
    database: Database = None,
    data: Annotated[Path | None, typer.Option("--data", help="Folder of keys and login.")] = None,
    config: Config = None,
    policy: Annotated[
        str | None, typer.Option(help="clinic, open or a TOML file; kept from then on.")
    ] = None,
    replica: Annotated[
        str | None, typer.Option(help="A name of its own, where several share the work.")
    ] = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    json_lines: Json = False,
) -> None:
    """Run the key directory alone against a broker; its login is made in the data folder."""
    if context.invoked_subcommand is not None:
        return
    from keydir.logs import configure_logging

    with reported_errors():
        settings = _settings(
            data or (None if config else _folder_of(database)),
            config,
            broker_urls=tuple(broker_url) if broker_url else None,
            database_url=database,
            policy=policy,
            replica=replica,
            log_level=log_level,
            log_format=log_format,
        )
        configure_logging(settings.log_level, settings.log_format)
        asyncio.run(_run(settings, lambda: _say_ready(json_lines=json_lines)))


@keydir_app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="The copy; it must not exist.")],
    *,
    data: Data = None,
    config: Config = None,
    database: Database = None,
    json_lines: Json = False,
) -> None:
    """Copy a directory's SQLite database as it is at one moment, and check the copy.

    The directory may run. The copy belongs to the keys in the folder: keep both together.
    """
    from keydir.backup import back_up

    with reported_errors():
        size = back_up(_settings(data, config, database_url=database), file)
        shown = {"file": str(file), "bytes": size}
        _say(shown, f"copied and checked: {file}", "the copy is complete", json_lines=json_lines)


@keydir_app.command()
def migrate(
    *,
    to: Annotated[str, typer.Option("--to", help="postgresql://…, an empty database.")],
    data: Data = None,
    config: Config = None,
    database: Database = None,
    json_lines: Json = False,
) -> None:
    """Copy a directory's SQLite database into an empty PostgreSQL database, and count again.

    The directory must not run meanwhile. The file is left as it was; an interrupted copy leaves
    the target as empty as before.
    """
    from keydir.moving import move

    with reported_errors():
        rows = move(_settings(data, config, database_url=database), to)
        total = sum(rows.values())
        line = f"copied and counted: {total} rows"
        _say({"rows": rows}, line, "the copy is complete", json_lines=json_lines)


def _settings(data: Path | None, config: Path | None, **given: object) -> "DirectorySettings":
    from keydir.config import read_settings, settings_of

    if config is not None:
        return read_settings(config, data_dir=data, **given)
    if data is None:
        raise MisuseError("where is the directory? give --data DIR or --config FILE")
    return settings_of(data_dir=data, **given)


def _folder_of(database: str | None) -> Path | None:
    from keydir.stores.database import sqlite_file

    path = None if database is None else sqlite_file(database)
    return None if path is None else path.parent


def _purpose(*, reset: bool, recover: bool) -> "Purpose":
    from keydir.records import Purpose

    if reset and recover:
        raise MisuseError("give either --reset or --recover; nothing was changed")
    return Purpose.RESET if reset else Purpose.RECOVER if recover else Purpose.NEW


async def _run(settings: "DirectorySettings", ready: Callable[[], None]) -> None:
    from keydir import commands

    answering = asyncio.Event()
    work = commands.run_directory(settings, answering.set)
    await until_signalled(work, answering, ready, insist=False)


def _say(shown: dict[str, object], line: str, state: str, *, json_lines: bool) -> None:
    as_json = json_lines or sys.stdout is None or not sys.stdout.isatty()
    write_line(json.dumps(shown) if as_json else line, state)


def _say_ready(*, json_lines: bool) -> None:
    write_line(json.dumps({"event": "ready"}) if json_lines else "ready", "the directory ends")
