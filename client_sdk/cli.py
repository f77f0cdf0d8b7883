"""The commands of a device; those that send and receive are in ``cli_messages``."""

import asyncio
import ssl
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from client_sdk.cli_connection import connection_state
from client_sdk.cli_devices import app as devices_app
from client_sdk.cli_identity import app as identity_app
from client_sdk.cli_messages import app as messages_app
from client_sdk.cli_options import (
    BrokerUrl,
    Json,
    PassphraseFile,
    Store,
    first_line,
    look,
    look_online,
    read_passphrase,
)
from client_sdk.handles import HistoryMessage
from client_sdk.machine.identity import Identity
from client_sdk.messenger import Messenger, load_own
from client_sdk.printing import Output, reported_errors, warn, write_public
from client_sdk.stores.sqlite import SqliteStore, key_file, store_exists
from client_sdk.transport.urls import parse_broker_url, usable_urls
from client_sdk.wire import topics
from client_sdk.wire.invitation import password_text

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.command()
def enroll(
    invitation: Annotated[
        str, typer.Argument(help="The line of `invite` or `link`; - reads it from stdin.")
    ],
    *,
    store: Store,
    passphrase_file: PassphraseFile = None,
    broker_url: BrokerUrl = None,
    json_lines: Json = False,
) -> None:
    """Redeem an invitation and make this device's store; call again after a crash.

    It prints the account's recovery code; the same call with the same store prints it again.
    """
    with reported_errors("interrupted; the same `enroll` with the same store goes on"):
        line = first_line(invitation)
        for url in broker_url or ():
            parse_broker_url(url)
        passphrase = read_passphrase(passphrase_file)
        new = not store_exists(store)
        enrolled = asyncio.run(
            Messenger.enroll(line, store, passphrase=passphrase, broker_url=broker_url)
        )
        if passphrase is None and new:
            warn(f"no passphrase was given: {key_file(store)} now opens the store; guard it")
        line = f"enrolled as {enrolled.address}"
        if enrolled.recovery_code is not None:
            line += f"\nrecovery code, for paper:\n  {enrolled.recovery_code}"
        Output(json_lines=json_lines).say(
            {"address": enrolled.address, "recovery_code": enrolled.recovery_code}, line
        )


app.registered_commands += identity_app.registered_commands
app.registered_commands += messages_app.registered_commands
app.registered_commands += devices_app.registered_commands


@app.command()
def history(
    conversation: Annotated[str, typer.Argument(help="A user.")],
    *,
    store: Store,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000)] = 50,
    before: Annotated[int | None, typer.Option("--before", help="A position to read on.")] = None,
    passphrase_file: PassphraseFile = None,
    json_lines: Json = False,
) -> None:
    """Print the newest messages of a conversation, own ones too, oldest first."""

    async def show(messenger: Messenger) -> None:
        output = Output(json_lines=json_lines)
        for message in await messenger.history(conversation, limit=limit, before=before):
            output.say(_history_fields(message), _history_line(message))

    with reported_errors():
        look(Messenger.open(store, passphrase=read_passphrase(passphrase_file), online=False), show)


@app.command()
def credentials(
    *,
    store: Store,
    passphrase_file: PassphraseFile = None,
    json_lines: Json = False,
) -> None:
    """Print this device's MQTT login for other clients; stop the app first.

    Where the device pinned a private CA, ca_file is its certificate, written beside the store.
    """

    async def read() -> dict[str, object]:
        opened = SqliteStore.open(store, read_passphrase(passphrase_file))
        try:
            record = (await load_own(opened)).record
            authority = await opened.pinned_ca()
        finally:
            await opened.close()
        pinned = record.invitation.ca_fingerprint is not None
        return {
            "broker_url": usable_urls(record.invitation.broker_urls, pinned=pinned)[0],
            "username": record.address,
            "password": password_text(record.credential),
            "client_id": record.address,
            "topic": f"{topics.inbox_prefix(record.address)}#",
            "ca_file": _ca_file(store, authority) if pinned else None,
        }

    with reported_errors():
        login = asyncio.run(read())
        lines = "\n".join(f"{name}: {value}" for name, value in login.items())
        Output(json_lines=json_lines).say(login, lines)


@app.command()
def status(
    *,
    store: Store,
    passphrase_file: PassphraseFile = None,
    broker_url: BrokerUrl = None,
    json_lines: Json = False,
) -> None:
    """Print who this device is, whether it reaches its broker, and what waits."""

    async def show(messenger: Messenger) -> None:
        counts = await messenger.counts()
        identities = await messenger.identities()
        fields: dict[str, object] = {
            "address": messenger.address,
            "role": messenger.role,
            "connection": connection_state(messenger),
            "broker_url": await messenger.broker_url(),
            **counts._asdict(),
            "verified": [user for user, one in identities.items() if one is Identity.VERIFIED],
            "changed": [user for user, one in identities.items() if one is Identity.CHANGED],
        }
        lines = "\n".join(f"{name}: {_shown(value)}" for name, value in fields.items())
        Output(json_lines=json_lines).say(fields, lines)

    look_online(store, passphrase_file, broker_url, show)


def _ca_file(store: Path, authority: bytes | None) -> str | None:
    """Return where other clients find the pinned CA; None before the first connection."""
    if authority is None:
        return None
    file = Path(f"{store}.ca.pem")
    write_public(file, ssl.DER_cert_to_PEM_cert(authority))
    return str(file)


def _shown(value: object) -> object:
    return (", ".join(value) or "nobody") if isinstance(value, list) else value


def _history_fields(message: HistoryMessage) -> dict[str, object]:
    return {
        "position": message.position,
        "id": message.id,
        "sender": message.sender,
        "conversation": message.conversation,
        "outgoing": message.outgoing,
        "state": message.state,
        "seq": message.seq,
        "text": message.text,
        "sent_at": message.sent_at,
    }


def _history_line(message: HistoryMessage) -> str:
    try:
        when = f"{datetime.fromtimestamp(message.sent_at / 1000).astimezone():%Y-%m-%d %H:%M}"
    except (OverflowError, ValueError, OSError):  # the sender's clock may say anything
        when = "at no known time"
    return f"{when}  {message.sender}: {message.text}  ({message.state})"
