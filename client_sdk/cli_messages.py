"""The commands that send and receive."""

import asyncio
import os
import time
from typing import Annotated, Final

import typer

from client_sdk.cli_connection import missing, watch_connection
from client_sdk.cli_events import warning
from client_sdk.cli_options import (
    BrokerUrl,
    Json,
    Opened,
    PassphraseFile,
    Store,
    read_passphrase,
    utf8,
)
from client_sdk.cli_sending import Sending
from client_sdk.machine.events import LoginRefused
from client_sdk.messenger import Messenger
from client_sdk.printing import (
    EXIT_FAILED,
    EXIT_TIMED_OUT,
    Output,
    reported_errors,
    warn,
)
from client_sdk.signals import until_signalled
from client_sdk.wire.errors import MisuseError

DEFAULT_SEND_SECONDS: Final = 10.0

app = typer.Typer()

Timeout = Annotated[float | None, typer.Option("--timeout", min=0, help="Seconds.")]


@app.command()
def send(
    to: Annotated[str, typer.Argument(help="A user.")],
    text: Annotated[str | None, typer.Argument(help="The text; or use --stdin.")] = None,
    *,
    store: Store,
    from_stdin: Annotated[bool, typer.Option("--stdin", help="One message a line.")] = False,
    wait: Annotated[str | None, typer.Option(help="delivered: wait for the receipt.")] = None,
    timeout: Timeout = None,
    passphrase_file: PassphraseFile = None,
    broker_url: BrokerUrl = None,
    json_lines: Json = False,
) -> None:
    """Send a text; without network it is queued and leaves when the device is online again."""
    output = Output(json_lines=json_lines)
    sending = Sending(to, output, wait=wait is not None)
    with reported_errors(sending.interrupted):
        if (text is None) != from_stdin:
            raise MisuseError("give either TEXT or --stdin; nothing was queued")
        if wait not in {None, "delivered"}:
            raise MisuseError("--wait takes: delivered; nothing was queued")
        opened = Messenger.open(
            store, passphrase=read_passphrase(passphrase_file), broker_url=broker_url
        )
        seconds = DEFAULT_SEND_SECONDS if timeout is None and wait is None else timeout
        until = None if seconds is None else time.monotonic() + seconds
        code = asyncio.run(
            sending.lines(opened, until)
            if text is None
            else sending.one(opened, _argument(text), until)
        )
    raise typer.Exit(code)


@app.command()
def listen(
    *,
    store: Store,
    count: Annotated[int | None, typer.Option("--count", min=1, help="End after so many.")] = None,
    timeout: Timeout = None,
    passphrase_file: PassphraseFile = None,
    broker_url: BrokerUrl = None,
    json_lines: Json = False,
) -> None:
    """Print received messages, a line each, until Ctrl-C."""
    with reported_errors():
        opened = Messenger.open(
            store, passphrase=read_passphrase(passphrase_file), broker_url=broker_url
        )
        output = Output(json_lines=json_lines)
        listening = _listen(opened, output, count, timeout)
        code = asyncio.run(until_signalled(listening, insist=False, interrupted=_left_unread))
    if code is None:  # ended early it is done, unless a count was asked for
        code = 0 if count is None else EXIT_FAILED
    raise typer.Exit(code)


def _argument(text: str) -> str:
    """Return an argument's text by its bytes: not every locale decodes them as UTF-8."""
    return utf8(os.fsencode(text), "the text")


async def _listen(opened: Opened, output: Output, count: int | None, seconds: float | None) -> int:
    async with opened as messenger:
        tasks = {
            asyncio.ensure_future(_print_messages(messenger, output, count)),
            asyncio.ensure_future(_watch_events(messenger)),
            asyncio.ensure_future(watch_connection(messenger)),
        }
        try:
            ended, _ = await asyncio.wait(
                tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in ended:
            task.result()
        if ended:
            return 0
        wanted = "" if count is None else f", before {count} messages came"
        why = missing(messenger)
        connection = "" if why is None else f"; not connected: {why}"
        warn(f"--timeout ended it after {seconds:g} s{wanted}{connection}")
        return EXIT_TIMED_OUT


async def _print_messages(messenger: Messenger, output: Output, count: int | None) -> None:
    messages = messenger.messages()
    printed = 0
    async for message in messages:
        output.say(
            {
                "id": message.id,
                "sender": message.sender,
                "conversation": message.conversation,
                "seq": message.seq,
                "text": message.text,
                "sent_at": message.sent_at,
            },
            f"{message.sender}: {message.text}",
        )
        printed += 1
        if printed == count:
            await messages.done()
            return


async def _watch_events(messenger: Messenger) -> None:
    """Say what nobody would hear of; end a listener whose login is refused: it waits for ever."""
    async for event in messenger.events():
        if isinstance(event, LoginRefused) and messenger.connection_error is not None:
            raise messenger.connection_error
        text = warning(event)
        if text is not None:
            warn(text)


def _left_unread() -> None:
    warn("interrupted; what was not printed is kept for the next `listen`")
