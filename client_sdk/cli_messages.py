"""The commands that send and receive."""

import asyncio
import os
import time
from typing import Annotated, Final

import typer

from client_sdk.cli_events import held_warning, warning
from client_sdk.cli_options import (
    BrokerUrl,
    Json,
    Opened,
    PassphraseFile,
    Store,
    connect,
    read_passphrase,
    utf8,
)
from client_sdk.handles import DeliveryFailedError, DeliveryTimeoutError, Sent
from client_sdk.lines import lines_of
from client_sdk.machine.events import LoginRefused
from client_sdk.machine.identity import Identity
from client_sdk.machine.rows import MessageState
from client_sdk.messenger import Messenger
from client_sdk.printing import (
    EXIT_FAILED,
    EXIT_TIMED_OUT,
    Output,
    open_stdin,
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
    with reported_errors():
        if (text is None) != from_stdin:
            raise MisuseError("give either TEXT or --stdin; nothing was queued")
        if wait not in {None, "delivered"}:
            raise MisuseError("--wait takes: delivered; nothing was queued")
        opened = Messenger.open(
            store, passphrase=read_passphrase(passphrase_file), broker_url=broker_url
        )
        seconds = DEFAULT_SEND_SECONDS if timeout is None and wait is None else timeout
        output = Output(json_lines=json_lines)
        until = None if seconds is None else time.monotonic() + seconds
        sending = (
            _send_lines(opened, to, until, output, wait=wait is not None)
            if text is None
            else _send_one(opened, (to, _argument(text)), until, output, wait=wait is not None)
        )
        code = asyncio.run(sending)
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
        code = asyncio.run(until_signalled(listening, insist=False))
    if code is None:  # ended early it is done, unless a count was asked for
        code = 0 if count is None else EXIT_FAILED
    raise typer.Exit(code)


async def _send_one(
    opened: Opened, message: tuple[str, str], until: float | None, output: Output, *, wait: bool
) -> int:
    to, text = message
    async with opened as messenger:
        await connect(messenger)
        sent = await messenger.send(to, text)
        state, code = await _settled(messenger, sent, until, wait=wait)
        _say_sent(output, sent, state)
        _warn_without_connection(messenger)
        await _warn_of_held(messenger, to)
        return code


async def _send_lines(
    opened: Opened, to: str, until: float | None, output: Output, *, wait: bool
) -> int:
    async with opened as messenger:
        await connect(messenger)
        all_sent: list[Sent] = []
        number = 0
        async for line in lines_of(open_stdin()):
            number += 1
            sent = await messenger.send(to, _text_of(line, number))
            all_sent.append(sent)
            if not wait:
                _say_sent(output, sent, MessageState.QUEUED)
        worst = 0
        for sent in all_sent:
            state, code = await _settled(messenger, sent, until, wait=wait)
            worst = max(worst, code)
            if wait:
                _say_sent(output, sent, state)
            elif state is MessageState.QUEUED:
                break  # the broker is away or has enough: later ones wait as well
        _warn_without_connection(messenger)
        await _warn_of_held(messenger, to)
        return worst


async def _settled(
    messenger: Messenger, sent: Sent, until: float | None, *, wait: bool
) -> tuple[MessageState, int]:
    """Wait for what was asked for; return the state and the exit code."""
    left = None if until is None else max(until - time.monotonic(), 0.0)
    try:
        if wait:
            await sent.delivered(left)
        else:
            await messenger.wait_published(sent, left)
    except DeliveryTimeoutError as error:
        state = await sent.state()
        if not wait:
            return state, 0
        warn(str(error))
        return state, EXIT_TIMED_OUT
    except DeliveryFailedError as error:
        warn(str(error))
        return await sent.state(), EXIT_FAILED
    return await sent.state(), 0


async def _warn_of_held(messenger: Messenger, user: str) -> None:
    if await messenger.identity(user) is Identity.CHANGED:
        warn(held_warning(user))


def _say_sent(output: Output, sent: Sent, state: MessageState) -> None:
    shown = {
        MessageState.PLANNED: MessageState.QUEUED,
        MessageState.READ: MessageState.DELIVERED,
    }.get(state, state)
    output.say({"id": sent.id, "state": str(shown)}, f"{shown}  {sent.id}")


def _argument(text: str) -> str:
    """Return an argument's text by its bytes: not every locale decodes them as UTF-8."""
    return utf8(os.fsencode(text), "the text")


def _text_of(line: bytes, number: int) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise MisuseError(
            f"line {number} is not UTF-8; it was not queued, the lines before it were"
        ) from error


async def _listen(opened: Opened, output: Output, count: int | None, seconds: float | None) -> int:
    async with opened as messenger:
        tasks = {
            asyncio.ensure_future(_print_messages(messenger, output, count)),
            asyncio.ensure_future(_watch_events(messenger)),
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
        _warn_without_connection(messenger)
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


def _warn_without_connection(messenger: Messenger) -> None:
    error = messenger.connection_error
    if error is not None and not messenger.connected:
        warn(f"not connected, what is queued stays queued: {error}")
