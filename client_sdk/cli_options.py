"""What the commands of a device have in common."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Annotated, Final

import typer

from client_sdk.delivery.broker import BrokerUrls
from client_sdk.lines import lines_of
from client_sdk.messenger import Messenger
from client_sdk.printing import PASSPHRASE_VARIABLE, open_stdin, reported_errors
from client_sdk.wire.errors import MisuseError

CONNECT_SECONDS: Final = 5.0
_AROUND: Final = "\ufeff \t\r\n\"'"
"""What editors and shells leave around a line."""

Opened = AbstractAsyncContextManager[Messenger]

Store = Annotated[Path, typer.Option("--store", help="The device's store.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")]
PassphraseFile = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help=f"Read the passphrase here (or {PASSPHRASE_VARIABLE})."),
]
BrokerUrl = Annotated[
    list[str] | None,
    typer.Option("--broker-url", help="In place of the invitation's addresses; may be repeated."),
]


def read_passphrase(file: Path | None) -> str | None:
    """Return the passphrase of a file or of the environment; None where there is none.

    Raises:
        MisuseError: It cannot be read, is empty or is not UTF-8; nothing was changed.
    """
    if file is None:
        given = os.environb.get(PASSPHRASE_VARIABLE.encode())
        return utf8(given, PASSPHRASE_VARIABLE) if given else None
    try:
        data = file.read_bytes()
    except OSError as error:
        raise MisuseError(
            f"cannot read the passphrase file {file}: {error.strerror}; nothing was changed"
        ) from error
    passphrase = utf8(data, f"the passphrase file {file}").rstrip("\r\n")
    if not passphrase:
        raise MisuseError(f"the passphrase file {file} is empty; nothing was changed")
    return passphrase


def utf8(data: bytes, what: str) -> str:
    """Return the text that some bytes are.

    Raises:
        MisuseError: They are not UTF-8; the message names ``what`` and not its content.
    """
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise MisuseError(f"{what} is not UTF-8; nothing was changed") from error


def first_line(argument: str) -> str:
    """Return an argument less what shells leave around it; ``-`` is the first line of stdin."""
    return asyncio.run(_read_line()) if argument == "-" else argument.strip(_AROUND)


async def _read_line() -> str:
    async for line in lines_of(open_stdin()):
        text = line.decode(errors="replace").strip(_AROUND)
        if text:
            return text
    return ""


def look(opened: Opened, show: Callable[[Messenger], Awaitable[None]]) -> None:
    """Open a device, run one command on it and close it."""

    async def run() -> None:
        async with opened as messenger:
            await show(messenger)

    asyncio.run(run())


def look_online(
    store: Path,
    passphrase_file: Path | None,
    broker_url: BrokerUrls,
    show: Callable[[Messenger], Awaitable[None]],
) -> None:
    """Run one command on a device that is connected, where it can be; errors end the program."""

    async def connected(messenger: Messenger) -> None:
        await connect(messenger)
        await show(messenger)

    with reported_errors():
        passphrase = read_passphrase(passphrase_file)
        look(Messenger.open(store, passphrase=passphrase, broker_url=broker_url), connected)


async def connect(messenger: Messenger) -> None:
    """Wait for the connection, unless another process has it or there is none to be had."""
    if messenger.leading:
        await messenger.wait_connected(CONNECT_SECONDS)
