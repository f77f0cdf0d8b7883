"""The commands about who somebody is: contacts, safety numbers, coming back after a loss."""

import asyncio
import re
from pathlib import Path
from typing import Annotated, Final

import typer

from client_sdk.cli_connection import missing
from client_sdk.cli_options import (
    BrokerUrl,
    Json,
    PassphraseFile,
    Store,
    first_line,
    look_online,
    read_passphrase,
    utf8,
)
from client_sdk.core.fingerprint import SCAN_PREFIX
from client_sdk.handles import SafetyNumber
from client_sdk.messenger import Messenger
from client_sdk.printing import (
    EXIT_FAILED,
    EXIT_USAGE,
    Output,
    reported_errors,
    warn,
    write_private,
)
from client_sdk.stores.sqlite import key_file, store_exists
from client_sdk.wire.errors import MisuseError
from client_sdk.wire.ids import UserName

MAX_CODE_BYTES: Final = 4096
"""A file of this size holds something else than a recovery code."""

_COMPARABLE: Final = re.compile(rf"[0-9]{{60}}|{SCAN_PREFIX}[A-Z2-7]{{103}}")
"""Sixty digits, or what a safety number's QR code says."""

app = typer.Typer()

Other = Annotated[str, typer.Argument(metavar="USER", help="The other user.")]


@app.command()
def recover(
    invitation: Annotated[str, typer.Argument(help="The line of `invite`; - reads it from stdin.")],
    *,
    store: Store,
    code_file: Annotated[
        Path, typer.Option("--recovery-code-file", help="A file with the recovery code.")
    ],
    passphrase_file: PassphraseFile = None,
    broker_url: BrokerUrl = None,
    json_lines: Json = False,
) -> None:
    """Come back after losing all devices: same account, new device; call again after a crash."""
    with reported_errors("interrupted; the same `recover` with the same store goes on"):
        code = _read_code(code_file)
        line = first_line(invitation)
        passphrase = read_passphrase(passphrase_file)
        new = not store_exists(store)
        enrolled = asyncio.run(
            Messenger.recover(
                line, store, recovery_code=code, passphrase=passphrase, broker_url=broker_url
            )
        )
        if passphrase is None and new:
            warn(f"no passphrase was given: {key_file(store)} now opens the store; guard it")
        Output(json_lines=json_lines).say(
            {"address": enrolled.address, "recovery_code": enrolled.recovery_code},
            f"back as {enrolled.address}; the recovery code stays the same",
        )


@app.command()
def contacts(
    *,
    store: Store,
    passphrase_file: PassphraseFile = None,
    broker_url: BrokerUrl = None,
    json_lines: Json = False,
) -> None:
    """Print whom this user may write to; the last known ones when offline."""

    async def show(messenger: Messenger) -> None:
        output = Output(json_lines=json_lines)
        identities = await messenger.identities()
        found = await messenger.contacts()
        if not found and not messenger.connected:
            warn(f"no contacts are known here yet: {missing(messenger) or 'not connected'}")
        for one in found:
            fields: dict[str, object] = {"user": one.user, "role": one.role, "name": one.name}
            line = f"{one.user}  {one.role}  {one.name}"
            if one.user in identities:
                fields["identity"] = str(identities[one.user])
                line = f"{line}  ({identities[one.user]})"
            output.say(fields, line)

    look_online(store, passphrase_file, broker_url, show)


@app.command()
def safety_number(
    user: Other,
    *,
    store: Store,
    matches: Annotated[
        str | None,
        typer.Option(
            "--matches",
            "--scan",
            help="The other side's QR text or digits; exit 1 if not the same.",
        ),
    ] = None,
    svg: Annotated[Path | None, typer.Option(help="Write this side's QR code there.")] = None,
    passphrase_file: PassphraseFile = None,
    broker_url: BrokerUrl = None,
    json_lines: Json = False,
) -> None:
    """Print the sixty digits, and the QR code, to compare with a contact in another way."""
    code = 0
    if matches is not None and not _COMPARABLE.fullmatch("".join(matches.split()).upper()):
        warn("this is not a safety number's scan text nor its sixty digits; nothing was compared")
        raise typer.Exit(EXIT_USAGE)

    async def show(messenger: Messenger) -> None:
        nonlocal code
        number = await messenger.safety_number(user)
        if svg is not None:
            write_private(svg, number.qr_svg())
        fields = _number_fields(number)
        line = f"{number.user}  ({number.identity})\n{number}\n{number.qr_lines()}"
        if matches is not None:
            same = number.matches(matches)
            fields["matches"] = same
            line = f"{number.user}: {'the same' if same else 'NOT the same: do not trust it'}"
            code = 0 if same else EXIT_FAILED
        Output(json_lines=json_lines).say(fields, line)

    look_online(store, passphrase_file, broker_url, show)
    raise typer.Exit(code)


@app.command()
def verify(
    user: Other,
    *,
    store: Store,
    passphrase_file: PassphraseFile = None,
    broker_url: BrokerUrl = None,
    json_lines: Json = False,
) -> None:
    """Say that the safety number shown last was compared; another key then stops all sending."""

    async def mark(messenger: Messenger) -> None:
        await messenger.verify(user)
        await _say_identity(messenger, user, json_lines=json_lines)

    look_online(store, passphrase_file, broker_url, mark)


@app.command()
def trust(
    user: Other,
    *,
    store: Store,
    passphrase_file: PassphraseFile = None,
    broker_url: BrokerUrl = None,
    json_lines: Json = False,
) -> None:
    """Go on with a verified user's new key without comparing it; the user is unverified then."""

    async def accept(messenger: Messenger) -> None:
        await messenger.trust(user)
        await _say_identity(messenger, user, json_lines=json_lines)

    look_online(store, passphrase_file, broker_url, accept)


def _number_fields(number: SafetyNumber) -> dict[str, object]:
    return {
        "user": number.user,
        "digits": number.digits,
        "qr": number.qr_text,
        "identity": str(number.identity),
    }


async def _say_identity(messenger: Messenger, user: str, *, json_lines: bool) -> None:
    identity = await messenger.identity(user)
    fields: dict[str, object] = {"user": UserName(user), "identity": str(identity)}
    Output(json_lines=json_lines).say(fields, f"{user}: {identity}")


def _read_code(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_CODE_BYTES + 1)
    except OSError as error:
        raise MisuseError(
            f"cannot read the recovery code file {file}: {error.strerror}; nothing was changed"
        ) from error
    if len(data) > MAX_CODE_BYTES:
        raise MisuseError(f"{file} is no recovery code: it is too long; nothing was changed")
    return utf8(data, f"the recovery code file {file}")
